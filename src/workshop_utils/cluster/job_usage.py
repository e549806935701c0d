"""What a job asked for and what it used, from the text of ``sacct``, ``sstat`` and a centre's ``seff``."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace

from workshop_utils.cluster.slurm import ask
from workshop_utils.cluster.slurm_values import gpus_of, seconds, size_bytes, whole
from workshop_utils.errors import WorkshopError

COLUMNS = (
    "JobIDRaw", "JobName", "Partition", "State", "ExitCode", "ElapsedRaw", "TimelimitRaw", "AllocCPUS",
    "TotalCPU", "ReqMem", "MaxRSS", "AllocTRES", "NNodes",
)  # fmt: skip
SSTAT_COLUMNS = ("JobID", "MaxRSS", "AveCPU", "NTasks")
JOB = re.compile(r"\d{1,12}(_\d{1,9})?")
OUT_OF_MEMORY = "OUT_OF_MEMORY"
RUNNING = ("RUNNING", "SUSPENDED", "COMPLETING")


@dataclass(frozen=True)
class JobUsage:
    """One job. Memory is CPU memory in bytes: ``memory_bytes`` of all nodes, ``most_rss_bytes`` of one step.

    ``cpu_s`` are seconds of all cores together. ``memory_killed``: the job, or a step of it, was ended
    because it used all of its memory. None where Slurm does not say.
    """

    job: str
    name: str
    partition: str
    state: str
    exit_code: str
    elapsed_s: int
    limit_s: int | None
    nodes: int
    cores: int
    cpu_s: float
    memory_bytes: int | None
    most_rss_bytes: int | None
    gpus: Mapping[str, int]
    memory_killed: bool = False
    seff: str | None = None

    @property
    def cpu_share(self) -> float | None:
        """CPU time used / cores × elapsed time."""
        return self.cpu_s / (self.cores * self.elapsed_s) if self.cores and self.elapsed_s else None

    @property
    def memory_share(self) -> float | None:
        if not self.memory_bytes or self.most_rss_bytes is None:
            return None
        return self.most_rss_bytes / self.memory_bytes

    @property
    def gpu_count(self) -> int:
        return sum(self.gpus.values())


def job_usage(job: str) -> JobUsage:
    """Return what Slurm knows of a job, running or ended. Raises WorkshopError where it knows nothing."""
    if not JOB.fullmatch(job):
        raise WorkshopError(
            f"job {job!r} is no job number, such as 1234567; `squeue --me` and `sacct` list yours."
        )
    columns = ",".join(COLUMNS)
    try:
        text = ask("sacct", ["--parsable2", "--noheader", f"--jobs={job}", f"--format={columns}"])
    except WorkshopError as error:
        if "accounting storage is disabled" not in str(error):
            raise
        raise WorkshopError(
            "Slurm accounting storage is disabled here, so what a job used is not known afterwards; while it "
            f"runs, `squeue --jobs={job}` and `scontrol show job {job}` show it, and `workshop record` in it "
            "writes down what it uses."
        ) from None
    found = read_sacct(text)
    if found is None:
        raise WorkshopError(
            f"Slurm's accounting knows no job {job}, or not yet; `sacct` lists yours of today."
        )
    if found.state in RUNNING:
        found = with_sstat(found, job)
    return replace(found, seff=seff_of(job))


def read_sacct(text: str) -> JobUsage | None:
    """Return the first job in ``text``, with what its steps tell; None where there is none."""
    job: JobUsage | None = None
    for line in text.splitlines():
        cells = line.split("|")
        bars = len(cells) - len(COLUMNS)
        if bars < 0:
            continue
        # Only a name may have a | of its own.
        name = "|".join(cells[1 : 2 + bars])
        row = dict(zip(COLUMNS, (cells[0], name, *cells[2 + bars :]), strict=True))
        number = row["JobIDRaw"]
        if "." not in number and job is None:
            job = read_job(row)
        elif job is not None and number.startswith(f"{job.job}."):
            job = with_step(job, row)
    return job


def with_step(job: JobUsage, row: Mapping[str, str]) -> JobUsage:
    """Return a job with what a step's line adds.

    Where only a step was ended, 20.11 calls the job OUT_OF_MEMORY, and later releases FAILED or COMPLETED.
    20.11 has the type of a GPU that was asked for without one in the steps' lines alone.
    """
    known = [size for size in (job.most_rss_bytes, size_bytes(row["MaxRSS"])) if size is not None]
    gpus = gpus_of(row["AllocTRES"])
    typed = "gpu" in job.gpus and sum(gpus.values()) == job.gpu_count
    return replace(
        job,
        most_rss_bytes=max(known, default=None),
        gpus=gpus if typed else job.gpus,
        memory_killed=job.memory_killed or row["State"] == OUT_OF_MEMORY,
    )


def read_job(row: Mapping[str, str]) -> JobUsage:
    """Return a job's own line."""
    nodes, cores = whole(row["NNodes"]) or 1, whole(row["AllocCPUS"]) or 0
    minutes = whole(row["TimelimitRaw"])
    return JobUsage(
        job=row["JobIDRaw"],
        name=row["JobName"],
        partition=row["Partition"],
        state=row["State"].split()[0] if row["State"] else "",
        exit_code=row["ExitCode"],
        elapsed_s=whole(row["ElapsedRaw"]) or 0,
        limit_s=None if minutes is None else minutes * 60,
        nodes=nodes,
        cores=cores,
        cpu_s=seconds(row["TotalCPU"]),
        memory_bytes=memory_bytes(row, nodes, cores),
        most_rss_bytes=size_bytes(row["MaxRSS"]),
        gpus=gpus_of(row["AllocTRES"]),
        memory_killed=row["State"] == OUT_OF_MEMORY,
    )


def memory_bytes(row: Mapping[str, str], nodes: int, cores: int) -> int | None:
    """Return the memory of all nodes: from AllocTRES, else ReqMem with n or c, per node or core (20.11)."""
    if match := re.search(r"(?:^|,)mem=([\d.]+[KMGTP]?)", row["AllocTRES"]):
        return size_bytes(match[1])
    asked = row["ReqMem"]
    times = {"n": nodes, "c": cores}.get(asked[-1:], 1)
    size = size_bytes(asked.rstrip("nc"))
    return None if size is None else size * times


def with_sstat(usage: JobUsage, job: str) -> JobUsage:
    """Return a running job with what its steps use now; sacct knows that only when they end."""
    columns = ",".join(SSTAT_COLUMNS)
    try:
        chosen = ["--allsteps", f"--jobs={job}", f"--format={columns}"]
        text = ask("sstat", ["--parsable2", "--noheader", *chosen])
    except WorkshopError:  # another reader's job, or one that ended between the two questions
        return usage
    sizes, cpu = [], 0.0
    # Of a step that has used none, such as extern, 20.11 and 26.05 tell 213503982334-14:25:51.
    possible_s = usage.cores * (usage.elapsed_s + 60)
    for line in text.splitlines():
        cells = line.split("|")
        # Asked for one job of an array, it tells of all.
        if len(cells) == len(SSTAT_COLUMNS) and cells[0].startswith(f"{usage.job}."):
            row = dict(zip(SSTAT_COLUMNS, cells, strict=True))
            sizes += [size for size in [size_bytes(row["MaxRSS"])] if size is not None]
            step_s = seconds(row["AveCPU"]) * (whole(row["NTasks"]) or 1)
            cpu += step_s if step_s <= possible_s else 0
    most = max(sizes, default=usage.most_rss_bytes)
    return replace(usage, most_rss_bytes=most, cpu_s=max(cpu, usage.cpu_s))


def seff_of(job: str) -> str | None:
    """Return what the centre's ``seff`` says, None where there is none or it fails."""
    if shutil.which("seff") is None:
        return None
    try:
        return ask("seff", [job]).strip() or None
    except WorkshopError:
        return None
