"""``workshop nodes`` without a cluster: what it asks Slurm for, and an srun that says anything at all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.monitor.other_nodes import READING
from workshop_utils.cluster import nodes_step
from workshop_utils.cluster.nodes_step import OtherNodesOfJob, other_nodes, step_command, step_environment
from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.node_reading import lines_of
from workshop_utils.monitor.nodes_file import MOST_NODES, OtherNodes, read_nodes, shown, write_nodes
from workshop_utils.monitor.private_file import runtime_file
from workshop_utils.monitor.show_nodes import show_nodes

KERNEL = """
import time
from workshop_utils.monitor.show_nodes import show_nodes
shown = show_nodes()
print("shown", flush=True)
time.sleep(60)
"""
JOB = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "na", "SLURMD_NODENAME": "na"}


def hostnames(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    answers = {
        ("squeue", "--noheader", "--jobs=77", "--format=%N"): "n[a-c]\n" if names else "",
        ("scontrol", "show", "hostnames", "n[a-c]"): "\n".join(names),
    }
    monkeypatch.setattr(nodes_step, "ask", lambda program, options: answers[(program, *options)])


def test_the_step_waits_for_nothing_and_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hostnames(monkeypatch, "na", "nb", "nc")
    others = other_nodes(JOB)
    assert others == OtherNodesOfJob("77", ("nb", "nc"))
    command = step_command(others)
    assert command[:3] == ["srun", "--jobid=77", "--overlap"]
    assert {"--nodelist=nb,nc", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1"} <= set(command)
    assert command[-4:] == [sys.executable, "-P", "-m", "workshop_utils.monitor.collector"]


def test_from_a_shell_of_salloc_all_nodes_are_other_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    hostnames(monkeypatch, "na", "nb")
    environment = {name: value for name, value in JOB.items() if name != "SLURMD_NODENAME"}
    assert other_nodes(environment).names == ("na", "nb")


def test_the_environment_has_nothing_of_the_jobs_request() -> None:
    environment = {
        **JOB, "SLURM_CONF": "/etc/slurm.conf", "SLURM_EXPORT_ENV": "NONE", "SLURM_MEM_PER_NODE": "1",
        "SLURM_MEM_PER_CPU": "1", "SBATCH_EXPORT": "NONE", "CUDA_VISIBLE_DEVICES": "3", "PATH": "/bin",
    }  # fmt: skip
    assert step_environment(environment) == {
        "SLURM_CONF": "/etc/slurm.conf", "SLURM_EXPORT_ENV": "ALL", "PATH": "/bin",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "names", "sentence"),
    [
        ({}, ["na"], "this is no Slurm job"),
        ({**JOB, "SLURM_JOB_ID": "7; rm -rf /"}, ["na"], "this is no Slurm job"),
        (JOB, [], "Slurm knows no nodes of job 77"),
        (JOB, ["na"], "job 77 has one node, na"),
        (JOB, [f"n{number}" for number in range(MOST_NODES + 1)], "and the panel shows 64 at most"),
    ],
)
def test_where_there_is_nothing_to_show_a_sentence_says_so(
    environment: dict[str, str], names: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostnames(monkeypatch, *names)
    with pytest.raises(WorkshopError, match=sentence):
        other_nodes(environment)


@pytest.fixture
def faked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of three nodes by scripts in place of Slurm's programs; returns that of srun, to be filled."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (
        ("squeue", "echo 'n[a-c]'"),
        ("scontrol", "printf 'na\\nnb\\nnc\\n'"),
        ("srun", "exit 0"),
    ):
        program(folder / name, text)
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    return folder / "srun"


def program(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def run(*words: str, seconds: float = 60, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "workshop_utils", "nodes", *words], capture_output=True, text=True,
        timeout=seconds, check=False, **options,
    )  # fmt: skip


def known() -> OtherNodes:
    found = read_nodes(runtime_file("nodes"))
    assert found is not None
    return found


def test_lines_that_are_none_are_passed_over(faked: Path, tmp_path: Path) -> None:
    good, foreign = list(lines_of(READING, "nb", 1)), list(lines_of(READING, "mallory", 1))
    noise = [
        "Welcome to node nb!", "{", "[]", "null", '{"node": []}', '{"node": "nb"}', "x" * 100_000, "[" * 900,
        '{"version": 1, "node": "nb", "tick": 1, "kind": "node", "gpus": 99}',
    ]  # fmt: skip
    # The row of a GPU between the others breaks nothing: what is unknown is left out.
    text = "\n".join([*noise[:-1], *foreign, good[0], "noise", *good[1:], noise[-1]]) + "\n"
    (tmp_path / "said").write_text(text + "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"))
    program(faked, f"cat {tmp_path}/said; exit 3")
    done = run("--json")
    assert done.returncode == 2
    assert "srun has ended by itself" in done.stderr
    assert [json.loads(line)["node"] for line in done.stdout.splitlines()] == ["nb"]
    found = known()
    assert [node.reading for node in found.nodes] == [READING, None]
    assert found.ended == "The figures of the other nodes have ended: `workshop nodes` lost its srun."


def test_what_srun_says_is_passed_on_and_quoted(faked: Path) -> None:
    program(faked, "echo 'srun: error: Unable to create step for job 77: Invalid account' >&2; exit 1")
    done = run()
    assert done.returncode == 2
    assert "workshop nodes: srun has ended by itself, which said: srun: error: Unable to cr" in done.stderr
    assert "Invalid account" in (known().ended or "")


def test_an_srun_that_ignores_everything_is_killed(faked: Path) -> None:
    program(faked, "trap '' TERM INT HUP; exec <&-; while true; do sleep 0.2; done")
    began = time.monotonic()
    done = run("--end-with-input", stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert time.monotonic() - began < 20
    assert "was ended by the notebook" in (known().ended or "")


def test_an_srun_that_says_nothing_leaves_the_nodes_starting(faked: Path) -> None:
    program(faked, "cat >/dev/null")  # ends with its input, as the collectors do
    with show_nodes() as nodes:
        frame = shown(known())
        assert frame is not None
        assert [node["status"] for node in frame["nodes"]] == ["starting", "starting"]
        assert frame["ended"] is None
        with pytest.raises(WorkshopError, match="shows the other nodes of job 77 already"):
            show_nodes()
        nodes.stop()
        nodes.stop()  # harmless
    frame = shown(known())
    assert frame is not None
    assert "was ended by the notebook" in frame["ended"]


@contextmanager
def showing_kernel() -> Iterator["subprocess.Popen[str]"]:
    """Show the nodes from a process of its own, which the test may kill as a restart of a kernel does."""
    with subprocess.Popen([sys.executable, "-P", "-c", KERNEL], stdout=subprocess.PIPE, text=True) as kernel:
        try:
            assert kernel.stdout is not None
            assert kernel.stdout.readline() == "shown\n"
            yield kernel
        finally:
            kernel.kill()


def lives(pid: int) -> bool:
    """A zombie waits for an init that reaps late."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_after_a_restart_of_the_kernel_the_last_one_is_waited_for(faked: Path) -> None:
    program(faked, "cat >/dev/null; sleep 2")
    with showing_kernel() as kernel:
        first = known()
        kernel.kill()
        with show_nodes():
            second = known()
            assert (second.ended, second.pid != first.pid) == (None, True)
            assert not lives(first.pid)
        assert known().pid == second.pid


def test_it_says_that_it_ends_before_its_srun_has_ended(faked: Path) -> None:
    program(faked, "cat >/dev/null; sleep 2")
    with showing_kernel() as kernel:
        first = known()
        kernel.kill()
        deadline = time.monotonic() + 1.5
        while known().ended is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert lives(first.pid)


def test_one_that_was_killed_is_in_nobodys_way(faked: Path) -> None:
    program(faked, "cat >/dev/null")
    with showing_kernel():
        first = known()
        os.kill(first.pid, signal.SIGKILL)
        with show_nodes():
            assert known().pid != first.pid


@pytest.mark.parametrize(("seconds", "refused"), [(0, True), (3600, False)])
def test_a_program_that_began_after_the_file_is_not_taken_for_the_command(
    faked: Path, seconds: float, refused: bool
) -> None:
    program(faked, "cat >/dev/null")
    pid, began_at = os.getpid(), psutil.Process().create_time()
    write_nodes(runtime_file("nodes"), OtherNodes("77", pid, began_at - seconds, time.time(), None, ()))
    done = run("--end-with-input", stdin=subprocess.DEVNULL)
    assert (f"process {pid} shows the other nodes of job 77 already" in done.stderr) is refused
    assert done.returncode == (2 if refused else 0)


def test_a_notebook_outside_of_a_job_is_told_so(faked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(WorkshopError, match=r"^this is no Slurm job"):
        show_nodes()
