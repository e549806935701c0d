"""``workshop nodes`` in jobs of a real Slurm: figures of every node, and nothing left however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from workshop_monitor.other_nodes import OtherNodes

from tests.nvml_stub.build import set_faults
from tests.nvml_stub.fixtures import stub_library
from tests.slurm.small_cluster import small_cluster
from workshop_utils.monitor.nodes_file import SILENT, UNWRITTEN, read_nodes

__all__ = ["stub_library"]

pytestmark = pytest.mark.slow

NODES = ("wn-1", "wn-2", "wn-3")
BUSY = dict(zip(NODES, (11, 37, 73), strict=True))
# As Open OnDemand submits, and with requests that an srun which takes them over would choke on.
REQUEST = ("--partition=gpu", "--export=NONE", "--gres=gpu:2", "--ntasks-per-node=2", "--cpus-per-task=2")
COMMAND = "{python} -P -m workshop_utils nodes --json >out 2>err"
WITH_BLOCK = """{python} -P -c '
import time
from workshop_utils.monitor.show_nodes import show_nodes
with show_nodes():
    open("inside", "w").close()
    while not __import__("os").path.exists("leave"):
        time.sleep(0.1)
' >out 2>err"""
SCRIPT = """#!/bin/bash
cd {folder}
export JUPYTER_RUNTIME_DIR={folder}/runtime PYTHONPATH={site} LD_LIBRARY_PATH={stub}
{command} &
echo $! >pid.new; mv pid.new pid
wait $!
echo $? >code.new; mv code.new code
sleep 300
"""
# The stub driver's control file of each node: Slurm sets no variable of ours that differs between nodes.
SITE = 'import os; os.environ["NVML_STUB_CONTROL"] = "{folder}/" + os.environ.get("SLURMD_NODENAME", "")\n'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with small_cluster(tmp_path_factory.mktemp("slurm"), *NODES) as environment:
        yield environment


@dataclass
class Job:
    """A batch job that runs the command on its first node."""

    folder: Path
    environment: dict[str, str]
    number: str

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    @property
    def file(self) -> Path:
        return next(iter((self.folder / "runtime").glob("workshop-nodes-*.json")), self.folder / "none")

    @property
    def error(self) -> str:
        return (self.folder / "err").read_text() if (self.folder / "err").exists() else "(not started)"

    def code(self) -> int | None:
        """Return the command's exit code, once it has ended."""
        file = self.folder / "code"
        return int(file.read_text()) if file.exists() else None

    def frame(self) -> dict[str, Any]:
        """Return what a server on this node would tell its panel."""
        nodes = json.loads(OtherNodes(self.file).read())["nodes"]
        return nodes or {"nodes": [], "ended": None}

    def statuses(self) -> dict[str, str]:
        return {node["name"]: node["status"] for node in self.frame()["nodes"]}

    def processes(self) -> list[psutil.Process]:
        """Return what lives of this job's sruns, collectors and command."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                ours = process.environ().get("JUPYTER_RUNTIME_DIR") == str(self.folder / "runtime")
                # The script and its sleep are the job's own; a zombie waits for an init that reaps late.
                job = process.name().startswith(("bash", "sleep", "slurm"))
                if ours and words and not job and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def collectors(self) -> list[psutil.Process]:
        python = [each for each in self.processes() if each.name() != "srun"]
        return [each for each in python if each.cmdline()[-1].endswith("collector")]

    def sruns(self) -> list[psutil.Process]:
        return [each for each in self.processes() if each.name() == "srun"]

    def cancel(self) -> None:
        subprocess.run(["scancel", self.number], env=self.environment, check=True, timeout=30)


def until(condition: Callable[[], object], job: Job, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {job.error}\n{job.frame()}\n{job.processes()}"
        time.sleep(0.1)


@pytest.fixture
def start(cluster: dict[str, str], stub_library: Path, tmp_path: Path) -> Iterator[Callable[[int, str], Job]]:
    """Submit a job of so many nodes, and return when it runs."""
    jobs: list[Job] = []

    def submit(nodes: int, command: str) -> Job:
        folder, site = tmp_path / f"job-{len(jobs)}", tmp_path / "site"
        for each in (folder, site):
            each.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(SITE.format(folder=site))
        for name, percent in BUSY.items():
            set_faults(site / name, "gpus 8", f"utilization {percent}")
        script = folder / "job.sh"
        python = command.format(python=sys.executable)
        script.write_text(SCRIPT.format(folder=folder, site=site, stub=stub_library, command=python))
        done = subprocess.run(
            ["sbatch", "--parsable", f"--nodes={nodes}", *REQUEST, f"--output={folder}/log", script],
            env=cluster, capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        job = Job(folder, cluster, done.stdout.strip())
        jobs.append(job)
        until((folder / "pid").exists, job)
        return job

    yield submit
    for job in jobs:
        job.cancel()
        until(lambda job=job: not job.processes(), job)


def all_there(job: Job, nodes: int) -> None:
    """Wait until each node but the first has figures."""
    until(lambda: list(job.statuses().values()) == ["ok"] * (nodes - 1), job)


def test_every_other_node_is_shown_with_its_own_figures(start: Callable[[int, str], Job]) -> None:
    job = start(3, COMMAND)
    all_there(job, 3)
    frame = job.frame()
    assert (frame["job"], frame["ended"]) == (job.number, None)
    for node in frame["nodes"]:
        reading = node["reading"]
        assert [gpu["utilization_percent"] for gpu in reading["gpus"]] == [BUSY[node["name"]]] * 8
        # The job has two of the node's eight, which nothing hides on this cluster.
        assert [gpu["index"] for gpu in reading["gpus"] if gpu["mine"]] == [0, 1]
        assert [gpu["mine"] for gpu in reading["gpus"][2:]] == [False] * 6
        assert reading["host"]["memory_used_bytes"] > 0
    assert [node["name"] for node in frame["nodes"]] == list(NODES[1:])
    # No port is opened: what the collectors are connected to is srun's pipes.
    assert len(job.collectors()) == 2
    for collector in job.collectors():
        assert [each for each in collector.net_connections() if each.status == psutil.CONN_LISTEN] == []
    until(lambda: len(job.frame()["nodes"][0]["reading"]["gpus"][0]["history"]) >= 4, job)
    assert job.file.stat().st_mode & 0o777 == 0o600
    rows = [json.loads(line) for line in (job.folder / "out").read_text().splitlines()]
    assert {row["node"] for row in rows} == set(NODES[1:])
    # One job's steps go on: the collectors hold neither cores nor GPUs that another step waits for.
    step = ["srun", f"--jobid={job.number}", "--nodes=3", "--gres=gpu:2", "--cpus-per-task=2", "hostname"]
    done = subprocess.run(step, env=job.environment, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    used = {each.pid: sum(each.cpu_times()[:2]) for each in job.processes()}
    time.sleep(5)
    for each in job.processes():
        share = (sum(each.cpu_times()[:2]) - used.get(each.pid, 0)) / 5
        print(f"{1000 * share:.1f} ms of CPU a second: {' '.join(each.cmdline())[-60:]}")
    print(f"{job.file.stat().st_size} bytes of file, {len(OtherNodes(job.file).read())} of frame")


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGINT, "was stopped (Ctrl-C)"),
        (signal.SIGTERM, "was ended (SIGTERM), as Slurm does at the end of a job"),
        (signal.SIGHUP, "was ended with its terminal"),
    ],
)
def test_a_signal_ends_it_and_all_collectors(
    start: Callable[[int, str], Job], number: signal.Signals, why: str
) -> None:
    job = start(2, COMMAND)
    all_there(job, 2)
    os.kill(job.pid, number)
    until(lambda: job.code() is not None, job, 10)
    assert job.processes() == []
    assert job.code() == 0
    assert job.frame()["ended"] == f"The figures of the other nodes have ended: `workshop nodes` {why}."
    assert job.statuses() == {NODES[1]: "ended"}
    assert job.frame()["nodes"][0]["reading"] is not None  # the last that was known


def test_killed_it_leaves_no_collector(start: Callable[[int, str], Job]) -> None:
    job = start(2, COMMAND)
    all_there(job, 2)
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: not job.processes(), job, 15)
    until(lambda: job.frame()["ended"], job, 10)
    assert job.frame()["ended"] == UNWRITTEN


def test_an_srun_that_is_killed_leaves_no_collector(start: Callable[[int, str], Job]) -> None:
    job = start(2, COMMAND)
    all_there(job, 2)
    for srun in job.sruns():
        srun.kill()
    until(lambda: job.code() is not None, job, 15)
    until(lambda: not job.processes(), job, 30)
    assert job.code() == 2
    assert "srun has ended by itself" in job.error
    assert "`workshop nodes` lost its srun" in job.frame()["ended"]


def test_a_collector_that_dies_ends_no_other(start: Callable[[int, str], Job]) -> None:
    job = start(3, COMMAND)
    all_there(job, 3)
    victim = next(each for each in job.collectors() if each.environ()["SLURMD_NODENAME"] == NODES[1])
    victim.kill()
    until(lambda: job.statuses()[NODES[1]] == "stale", job, 15)
    assert job.statuses() == {NODES[1]: "stale", NODES[2]: "ok"}
    assert job.frame()["nodes"][0]["error"] == SILENT
    os.kill(job.pid, signal.SIGTERM)
    until(lambda: not job.processes(), job, 15)


def test_a_collector_that_is_stopped_is_ended_with_the_rest(start: Callable[[int, str], Job]) -> None:
    job = start(2, COMMAND)
    all_there(job, 2)
    (collector,) = job.collectors()
    collector.suspend()  # it will not see that its input ends
    os.kill(job.pid, signal.SIGTERM)
    until(lambda: not job.processes(), job, 20)


def test_it_ends_with_the_job(start: Callable[[int, str], Job]) -> None:
    job = start(2, COMMAND)
    all_there(job, 2)
    job.cancel()
    until(lambda: not job.processes(), job, 20)
    until(lambda: job.frame()["ended"], job, 10)


def test_a_notebook_shows_them_for_a_block(start: Callable[[int, str], Job]) -> None:
    job = start(2, WITH_BLOCK)
    all_there(job, 2)
    assert (job.folder / "inside").exists()
    (job.folder / "leave").touch()
    until(lambda: job.code() is not None, job, 15)
    assert (job.code(), job.processes()) == (0, [])
    assert "was ended by the notebook" in job.frame()["ended"]


def test_a_kernel_that_is_killed_leaves_nothing(start: Callable[[int, str], Job]) -> None:
    job = start(2, WITH_BLOCK)
    all_there(job, 2)
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: not job.processes(), job, 15)
    assert "was ended by the notebook" in job.frame()["ended"]


def test_one_command_at_a_time(start: Callable[[int, str], Job]) -> None:
    job = start(2, COMMAND)
    all_there(job, 2)
    environment = psutil.Process(job.pid).environ()
    # In the job's own view of the machine, whose name the file has.
    apart = Path(f"/proc/{job.pid}/ns/uts").readlink() != Path("/proc/self/ns/uts").readlink()
    inside = ["nsenter", f"--target={job.pid}", "--uts"] if apart else []
    second = subprocess.run(
        [*inside, sys.executable, "-P", "-m", "workshop_utils", "nodes"], env=environment,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert second.returncode == 2
    assert f"process {job.pid} shows the other nodes of job {job.number} already" in second.stderr
    assert read_nodes(job.file).pid == job.pid
