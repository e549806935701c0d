"""Several nodes of a Slurm job for one run: which, where their ranks meet, and the step that starts them."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workshop_utils.cluster.nodes_step import job_node_names, step_environment
from workshop_utils.errors import WorkshopError
from workshop_utils.parallel.launch.run_folder import RunFolder

NODE_AGENT = "workshop_utils.parallel.launch.node_agent"
# Above the ports of services, below those that the system gives to clients; one for each job.
FIRST_PORT, PORTS = 20_000, 10_000
CANCEL_SECONDS = 20


@dataclass(frozen=True, slots=True)
class JobNodes:
    """The nodes of a run, the first of which is where all ranks meet."""

    job: str
    names: tuple[str, ...]

    @property
    def meeting(self) -> str:
        return f"{self.names[0]}:{FIRST_PORT + int(self.job) % PORTS}"


def job_nodes(count: int, environment: Mapping[str, str] = os.environ) -> JobNodes:
    """Return the first ``count`` nodes of this job. WorkshopError outside of a job, or in a smaller one."""
    job = environment.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        raise WorkshopError(
            f"{count} nodes take a Slurm job of as many, and this is none (SLURM_JOB_ID is not set); "
            f"`salloc --nodes={count} …` gives you one, `workshop request` writes one."
        )
    names = job_node_names(job)
    if len(names) < count:
        have = "1 node" if len(names) == 1 else f"{len(names)} nodes"
        raise WorkshopError(f"{count} nodes are more than job {job} has, {have}; ask Slurm for more.")
    return JobNodes(job, tuple(names[:count]))


def step_command(
    nodes: JobNodes, ranks: int, folder: RunFolder, script: Sequence[str], cores: int | None
) -> list[str]:
    """Return the srun that starts an agent on each node; it may use what the job's other steps leave idle."""
    count = len(nodes.names)
    program = [sys.executable, "-P", "-m", NODE_AGENT]
    return [
        "srun", f"--jobid={nodes.job}", f"--nodelist={','.join(nodes.names)}", f"--nodes={count}",
        f"--ntasks={count}", "--ntasks-per-node=1", "--overlap", "--mpi=none", "--cpu-bind=none",
        "--kill-on-bad-exit=1", "--job-name=workshop-run", *([f"--cpus-per-task={cores}"] if cores else []),
        *program, str(count), str(ranks), str(folder.path), nodes.meeting, *script,
    ]  # fmt: skip


def nodes_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for srun: the run's own, but ranks talk over the network between nodes."""
    kept = step_environment(environment)
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        kept.pop(name, None)
        if name in os.environ:  # the reader's, or the centre's, own choice
            kept[name] = os.environ[name]
    if environment.get("CUDA_VISIBLE_DEVICES") == "":  # --device cpu
        kept["CUDA_VISIBLE_DEVICES"] = ""
    return kept


def end_step(folder: RunFolder) -> None:
    """End the step on all nodes, whatever became of srun; nothing where it never started."""
    try:
        step = folder.step.read_text(encoding="utf-8")
    except OSError:
        return
    subprocess.run(
        ["scancel", "--signal=KILL", step], check=False, capture_output=True, timeout=CANCEL_SECONDS
    )
