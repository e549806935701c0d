"""The other nodes of this Slurm job, and the step that runs a collector on each beside what runs there."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workshop_utils.cluster.slurm import ask
from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.nodes_file import MOST_NODES

COLLECTOR = "workshop_utils.monitor.collector"
# Of this node alone: on the others, Slurm sets its own.
OWN_GPUS = {"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"}


@dataclass(frozen=True)
class OtherNodesOfJob:
    """A job's number, and its nodes but this one in Slurm's order."""

    job: str
    names: tuple[str, ...]


def other_nodes(environment: Mapping[str, str] = os.environ) -> OtherNodesOfJob:
    """Return this job's other nodes, all of them in a shell of salloc outside of the job.

    WorkshopError outside of a job, in one of a single node, or where Slurm does not answer.
    """
    job = environment.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        raise WorkshopError(
            "this is no Slurm job (SLURM_JOB_ID is not set), so there are no other nodes to show; run it in "
            "a job of several nodes, or in a terminal or notebook of an Open OnDemand session of several."
        )
    names = job_node_names(job)
    if not names:
        raise WorkshopError(f"Slurm knows no nodes of job {job}: it has ended, or waits for its nodes.")
    others = tuple(name for name in names if name != environment.get("SLURMD_NODENAME"))
    if not others:
        raise WorkshopError(
            f"job {job} has one node, {names[0]}, which the panel shows already; ask Slurm for more with "
            "--nodes."
        )
    if len(others) > MOST_NODES:
        raise WorkshopError(
            f"job {job} has {len(others)} other nodes, and the panel shows {MOST_NODES} at most."
        )
    return OtherNodesOfJob(job, others)


def job_node_names(job: str) -> list[str]:
    """Return a job's nodes in Slurm's order, none where it ended or waits. Raises as ``slurm.ask``."""
    # Asked for, since a step's SLURM_JOB_NODELIST may name its own nodes alone.
    listed = ",".join(ask("squeue", ["--noheader", f"--jobs={job}", "--format=%N"]).split())
    return ask("scontrol", ["show", "hostnames", listed]).split() if listed else []


def step_command(others: OtherNodesOfJob, program: Sequence[str] | None = None) -> list[str]:
    """Return the srun that runs ``program``, by default the collector, once on each of these nodes.

    ``--overlap`` shares cores, memory and GPUs with the steps that work there; it waits for none of them and
    takes nothing away. Without ``--exact`` a step may use all of the job's cores, so that the collector's
    cgroup has the job's limits and not those of one task. A node that fails ends no other.
    """
    count = len(others.names)
    return [
        "srun", f"--jobid={others.job}", "--overlap", f"--nodelist={','.join(others.names)}",
        f"--nodes={count}", f"--ntasks={count}", "--ntasks-per-node=1", "--mpi=none", "--cpu-bind=none",
        "--kill-on-bad-exit=0", "--wait=0", "--job-name=workshop-nodes",
        # -P: the folder that the reader works in may hold a json.py.
        *(program or (sys.executable, "-P", "-m", COLLECTOR)),
    ]  # fmt: skip


def step_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for srun: nothing of the job's request, which its options would clash with.

    Open OnDemand submits with ``--export=NONE``, which srun would take over and then find no program.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if (not name.startswith(("SLURM", "SBATCH_", "SRUN_")) or name == "SLURM_CONF")
        and name not in OWN_GPUS
    }
    return {**kept, "SLURM_EXPORT_ENV": "ALL"}
