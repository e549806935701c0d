"""``workshop run --nodes``: on a real Slurm of two nodes, and what is refused outside of one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.running import missing, running_cluster
from workshop_utils.errors import WorkshopError
from workshop_utils.parallel.launch.nodes import FIRST_PORT, PORTS, JobNodes, job_nodes

SUM = """
import os, socket, torch
import torch.distributed as dist
from workshop_utils.parallel.launch import notes

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
value = torch.tensor([float(rank + 1)])
dist.all_reduce(value)
print(f"{socket.gethostname()} sees {value.item():g}")
notes.hand_back({"host": socket.gethostname(), "world": world, "sum": value.item()})
dist.destroy_process_group()
"""
FAILS = """
import os, time
if os.environ["RANK"] == "3":
    raise ValueError("9 heads do not divide by 2")
time.sleep(600)
"""
SLEEPS = "import time\nprint('ready', flush=True)\ntime.sleep(600)\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if reason := missing():
        pytest.skip(reason)
    with running_cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def in_a_job(nodes: int, *words: str) -> list[str]:
    """Return a command that runs ``workshop run`` inside an allocation of so many nodes."""
    run = [sys.executable, "-m", "workshop_utils", "run", *words]
    return ["salloc", "--quiet", "--partition=gpu", f"--nodes={nodes}", "--ntasks-per-node=1",
            "--cpus-per-task=2", "--mem=2G", "--gres=gpu:a100:1", *run]  # fmt: skip


def run_in_a_job(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        in_a_job(2, *words), env=environment, cwd=folder, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def remaining(folder: Path) -> list[str]:
    """Return the processes, on any node of the test cluster, that still have to do with a run's folder."""
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if str(folder) in line and "launch." in line]


def test_two_nodes_sum_right_and_hand_back(cluster: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sum.py").write_text(SUM)
    words = ["--nodes", "2", "--ranks", "2", "--device", "cpu", "--json", "sum.py"]
    done = subprocess.run(
        in_a_job(2, *words),
        env=cluster,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["outcome"], result["ranks"]) == ("finished", 4)
    assert [row["rank"] for row in result["measurements"]] == [0, 1, 2, 3]
    assert {row["sum"] for row in result["measurements"]} == {10.0}
    hosts = [row["host"] for row in result["measurements"]]
    assert len(set(hosts)) == 2 or os.getuid() != 0  # without root, all nodes have this host's name
    assert "[rank 3] " in done.stderr
    assert not list(tmp_path.glob(".workshop-run-*"))


def test_a_rank_on_the_second_node_fails_and_all_end(cluster: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    words = ["--nodes", "2", "--ranks", "2", "--device", "cpu", "--json", "fails.py"]
    done = subprocess.run(
        in_a_job(2, *words),
        env=cluster,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert result["outcome"] == "failed"
    assert result["message"].startswith("Rank 3 raised ValueError: 9 heads do not divide by 2 (line 4 of the")
    assert remaining(tmp_path) == []


def test_an_interrupt_ends_the_ranks_of_both_nodes(cluster: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text(SLEEPS)
    command = in_a_job(2, "--nodes", "2", "--ranks", "1", "--device", "cpu", "sleeps.py")
    with subprocess.Popen(
        command, env=cluster, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        said = [line for _, line in zip(range(2), run.stdout, strict=False)]
        assert all("ready" in line for line in said), said
        launcher = subprocess.run(
            ["pgrep", "-f", "workshop_utils run --nodes"], capture_output=True, text=True, check=True
        )
        started = time.monotonic()
        for number in launcher.stdout.split():
            if f"{run.pid}" != number:
                os.kill(int(number), signal.SIGINT)
        run.communicate(timeout=30)
        assert time.monotonic() - started < 20
    assert remaining(tmp_path) == []


def test_more_nodes_than_the_job_has_are_refused(cluster: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sum.py").write_text(SUM)
    words = ["--nodes", "3", "--ranks", "1", "--device", "cpu", "sum.py"]
    done = subprocess.run(
        in_a_job(2, *words),
        env=cluster,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "3 nodes are more than job" in done.stderr
    assert "has, 2 nodes; ask Slurm for more" in done.stderr


def test_outside_of_a_job_it_says_how_to_get_one() -> None:
    with pytest.raises(WorkshopError, match=r"2 nodes take a Slurm job of as many.*salloc --nodes=2"):
        job_nodes(2, {})


def test_every_job_meets_at_a_port_of_its_own() -> None:
    first, second = (JobNodes(job, ("n1", "n2")).meeting for job in ("1234567", "1234568"))
    assert first != second
    assert first == f"n1:{FIRST_PORT + 1234567 % PORTS}"
