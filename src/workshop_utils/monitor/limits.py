"""How much CPU and memory this job may use: the smallest limit from its own cgroup up to the root.

Slurm puts the limit on the job's cgroup, a container on its own root, systemd on a slice: so no single level
is right, and the smallest one is what ends the job. Sources of the file formats:
https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from workshop_utils.monitor.cgroup import V2, Lineage, read_number, read_table

AFFINITY = "CPU affinity"
SLURM = "Slurm"
MIB = 2**20


@dataclass(frozen=True)
class Limit:
    """``amount`` in cores or bytes; ``folder`` is the cgroup that holds the limit, None if no cgroup does.

    ``cpus`` are the CPU numbers that the job is bound to, where that is the limit.
    """

    amount: float
    source: str
    folder: Path | None = None
    cpus: frozenset[int] | None = None


def memory_limit(
    lineages: Mapping[str, Lineage], environment: Mapping[str, str], machine_bytes: int
) -> Limit | None:
    """Return the job's memory limit in bytes, or None where the whole machine may be used.

    A cgroup limit at or above the machine's memory is none (v1 writes "unlimited" as a number near 2^63).
    Slurm's own request counts only where no cgroup enforces it.
    """
    enforced = _cgroup_memory_limits(lineages.get("memory"))
    return _smallest(enforced, machine_bytes) or _smallest(_slurm_memory_limits(environment), machine_bytes)


def cpu_limit(
    lineages: Mapping[str, Lineage],
    environment: Mapping[str, str],
    affinity: frozenset[int],
    machine_cores: int,
) -> Limit | None:
    """Return the job's CPU limit in cores, or None where the whole machine may be used.

    Candidates: the quota and the set of CPUs of each cgroup, the affinity of this process, and, where none
    of them limits anything, Slurm's request.
    """
    enforced = [*_cgroup_quotas(lineages.get("cpu")), *_cgroup_cpu_sets(lineages.get("cpuset"))]
    if affinity:
        enforced.append(Limit(len(affinity), AFFINITY, cpus=affinity))
    return _smallest(enforced, machine_cores) or _smallest(_slurm_cpu_limits(environment), machine_cores)


def parse_cpu_list(text: str) -> frozenset[int]:
    """Read the kernel's list of CPUs: ``"0-2,8"`` is {0, 1, 2, 8}; raises ValueError for anything else."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def affinity_of_this_process() -> frozenset[int]:
    """Return the CPUs that the scheduler may use for this process; empty where there is no such thing."""
    if not hasattr(os, "sched_getaffinity"):  # macOS, Windows
        return frozenset()
    return frozenset(os.sched_getaffinity(0))


def _smallest(limits: Iterable[Limit], machine: float) -> Limit | None:
    """Of equal limits the first, and so the one nearest the root: all of the job's steps count against it."""
    return min(
        (limit for limit in limits if 0 < limit.amount < machine), key=attrgetter("amount"), default=None
    )


def _cgroup_memory_limits(lineage: Lineage | None) -> Iterator[Limit]:
    if lineage is None:
        return
    for folder in reversed(lineage.folders):
        name = "memory.max" if lineage.version == V2 else "memory.limit_in_bytes"
        limit = read_number(folder / name)
        if limit is not None:
            yield Limit(limit, lineage.version, folder)
    if lineage.version != V2:
        # v1 also says what all ancestors allow, those that a container hides from us included.
        hierarchical = read_table(lineage.folders[0] / "memory.stat").get("hierarchical_memory_limit")
        if hierarchical is not None:
            yield Limit(hierarchical, lineage.version, lineage.folders[-1])


def _cgroup_quotas(lineage: Lineage | None) -> Iterator[Limit]:
    for folder in reversed(lineage.folders) if lineage else ():
        quota, period = _v2_quota(folder) if lineage and lineage.version == V2 else _v1_quota(folder)
        if quota is not None and quota > 0 and period:  # v1 writes "no limit" as -1
            yield Limit(quota / period, lineage.version if lineage else "", folder)


def _v1_quota(folder: Path) -> tuple[int | None, int | None]:
    return read_number(folder / "cpu.cfs_quota_us"), read_number(folder / "cpu.cfs_period_us")


def _v2_quota(folder: Path) -> tuple[int | None, int | None]:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return (None if quota == "max" else int(quota)), int(period)
    except (OSError, ValueError):
        return None, None


def _cgroup_cpu_sets(lineage: Lineage | None) -> Iterator[Limit]:
    """Slurm limits cores this way; ``effective`` is what is left after the ancestors' sets."""
    for folder in reversed(lineage.folders) if lineage else ():
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            try:
                cpus = parse_cpu_list((folder / name).read_text(encoding="ascii"))
            except (OSError, ValueError):
                continue
            if cpus:
                yield Limit(len(cpus), lineage.version if lineage else "", folder, cpus)
                break


def _slurm_memory_limits(environment: Mapping[str, str]) -> Iterator[Limit]:
    """What the job asked for.

    Megabytes in sbatch(1)'s output variables are mebibytes; ``--mem=0`` (all of the node) reads 0.
    """
    if "SLURMD_NODENAME" not in environment:
        return  # a shell of salloc on the login node: the request is for another machine
    per_node = _whole(environment.get("SLURM_MEM_PER_NODE"))
    per_core = _whole(environment.get("SLURM_MEM_PER_CPU"))
    cores = _whole(environment.get("SLURM_CPUS_ON_NODE"))
    if per_node:
        yield Limit(per_node * MIB, SLURM)
    elif per_core and cores:
        yield Limit(per_core * cores * MIB, SLURM)


def _slurm_cpu_limits(environment: Mapping[str, str]) -> Iterator[Limit]:
    """``SLURM_CPUS_ON_NODE`` is what the job has here; ``SLURM_CPUS_PER_TASK`` only what a task asked for."""
    if "SLURMD_NODENAME" not in environment:
        return
    cores = _whole(environment.get("SLURM_CPUS_ON_NODE")) or _whole(environment.get("SLURM_CPUS_PER_TASK"))
    if cores:
        yield Limit(cores, SLURM)


def job_end(environment: Mapping[str, str]) -> float | None:
    """Return when Slurm ends this job (``SLURM_JOB_END_TIME``, seconds since 1970); None without a limit."""
    return _whole(environment.get("SLURM_JOB_END_TIME")) or None


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
