"""Asking Slurm about a script, submitting it, watching and cancelling the job.

A script goes to sbatch on its standard input and never through a shell. Variables of a job that we are in
ourselves stay behind: sbatch and srun would take them for options of the new one.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop_utils.cluster.messages import AWAY, Advice, translate
from workshop_utils.cluster.site import Site
from workshop_utils.cluster.slurm import NO_CLUSTER, PATIENCE_S, UNCONFIGURED, ask
from workshop_utils.errors import WorkshopError

# Slurm refuses longer ones too (slurm.conf, max_script_size).
MOST_SCRIPT_BYTES = 4 * 2**20
JOB = re.compile(r"[0-9]{1,10}(?:_[0-9]{1,10})?")
STARTS = re.compile(r"Job \d+ to start at (?P<start>\S+) a? ?using .*? on (?:nodes? )?(?P<nodes>\S+)")
WATCH_COLUMNS = "%i|%T|%M|%l|%R|%S"
LEFT_OUT = ("SLURM_", "SBATCH_", "SRUN_")
# A job in one of these is over (slurm.schedmd.com/squeue.html, JOB STATE CODES).
OVER = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
    "TIMEOUT",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What Slurm says of a script: when and where it would start, or what to change."""

    accepted: bool
    start: str | None = None
    nodes: str | None = None
    refusal: Advice | None = None

    def __str__(self) -> str:
        if self.refusal:
            return str(self.refusal)
        if self.start is None:
            return "Slurm accepts it."
        return f"Slurm accepts it: expected to start at {self.start} on {self.nodes}."

    def as_json(self) -> dict[str, Any]:
        return {
            "accepted": self.accepted,
            "start": self.start,
            "nodes": self.nodes,
            "message": self.refusal.said if self.refusal else None,
            "advice": self.refusal.advice if self.refusal else None,
        }


@dataclass(frozen=True)
class JobState:
    """A job, or one of an array: ``state`` in Slurm's word; ``why`` is a reason to wait, or its nodes."""

    job: str
    state: str
    elapsed: str
    limit: str
    why: str
    start: str

    @property
    def over(self) -> bool:
        return self.state in OVER

    def __str__(self) -> str:
        if self.state == "PENDING":
            when = "" if self.start == "N/A" else f", expected to start at {self.start}"
            return f"job {self.job} waits {self.why}{when}"
        # In brackets it is why the job ended, as in (NonZeroExitCode).
        on = "" if self.why.startswith("(") else "on "
        where = f" {on}{self.why}" if self.why else ""
        return f"job {self.job} {self.state.lower()} after {self.elapsed} of {self.limit}{where}"


def test_only(script: str, site: Site | None = None, patience_s: float = PATIENCE_S) -> Answer:
    """Return what Slurm would do with a script: ``sbatch --test-only``, which submits nothing.

    Raises WorkshopError where there is no Slurm, or it does not answer.
    """
    # Slurm's times in one shape, whatever the reader's.
    shape = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
    done = run_sbatch(["--test-only"], script, patience_s, shape)
    if done.returncode and UNCONFIGURED in done.stderr:
        raise WorkshopError(f"{NO_CLUSTER}.")
    if done.returncode and re.search(AWAY, done.stderr):
        raise WorkshopError(str(translate(done.stderr, site)))
    if done.returncode:
        return Answer(False, refusal=translate(done.stderr, site))
    found = STARTS.search(done.stderr)
    return Answer(True, found and found["start"], found and found["nodes"])


def submit(script: str, site: Site | None = None, job_name: str | None = None) -> str:
    """Submit a script and return the job's number. Show it to whoever answers for it before.

    ``job_name``: for a script that names none. Raises WorkshopError with what to change.
    """
    named = [f"--job-name={job_name}"] if job_name else []
    done = run_sbatch(["--parsable", *named], script, 2 * PATIENCE_S)
    # "123", or "123;cluster" where there are several.
    job = done.stdout.strip().rsplit("\n", 1)[-1].partition(";")[0]
    if done.returncode or not JOB.fullmatch(job):
        raise WorkshopError(f"not submitted. {translate(done.stderr, site)}")
    return job


def run_sbatch(
    options: Sequence[str], script: str, patience_s: float, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run sbatch on a script. Raises WorkshopError where there is none, or it does not answer."""
    if shutil.which("sbatch") is None:
        raise WorkshopError(
            "there is no sbatch here: this machine has no Slurm, or its module is not loaded; take the "
            "script to a cluster's login node and run `sbatch job.sh` there."
        )
    if "\0" in script or len(script.encode(errors="replace")) > MOST_SCRIPT_BYTES:
        raise WorkshopError(
            f"this is no script: Slurm takes text up to {MOST_SCRIPT_BYTES / 2**20:.0f} MiB; name the job's "
            "script."
        )
    try:
        return subprocess.run(
            ["sbatch", *options], input=script, capture_output=True, encoding="utf-8", errors="replace",
            check=False, timeout=patience_s, env={**clean_environment(), **(variables or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise WorkshopError(
            f"Slurm did not answer sbatch within {patience_s:g} s: its controller is busy or away; "
            "`squeue --me` shows whether a job is there all the same."
        ) from None


def clean_environment() -> dict[str, str]:
    """Return this process's environment for a job: without the job that we are in, with our Python."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith(LEFT_OUT)
    }
    # A notebook's kernel is started by its full path: `workshop` and `torchrun` stand beside it.
    folder = os.path.dirname(sys.executable)
    if folder and folder not in kept.get("PATH", "").split(os.pathsep):
        kept["PATH"] = f"{folder}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept


def job_states(job: str) -> list[JobState]:
    """Return the states of a job and of all jobs of an array; empty where Slurm has forgotten it.

    Raises WorkshopError for what is no job's number, or where Slurm does not answer.
    """
    try:
        text = ask(
            "squeue", ["--noheader", "--states=all", f"--jobs={job_number(job)}", f"--format={WATCH_COLUMNS}"]
        )
    except WorkshopError as error:
        if "Invalid job id" in str(error):
            return []
        raise
    rows = (line.split("|") for line in text.splitlines())
    return [JobState(*(cell.strip() for cell in row)) for row in rows if len(row) == 6]


def watch(job: str, every_s: float = 5.0) -> Iterator[JobState]:
    """Yield a job's states, one whenever state or reason change, until all of it is over.

    Slurm forgets a job some minutes after its end; WorkshopError where it does not know it at all.
    """
    seen: dict[str, tuple[str, str]] = {}
    while True:
        states = job_states(job)
        if not states and not seen:
            raise WorkshopError(
                f"Slurm knows no job {job}, or has forgotten it; `sacct -j {job}` shows it where the centre "
                "keeps accounts, `squeue --me` lists yours."
            )
        for each in states:
            if seen.get(each.job) != (each.state, each.why):
                seen[each.job] = (each.state, each.why)
                yield each
        if all(each.over for each in states):
            return
        time.sleep(every_s)


def cancel(job: str) -> None:
    """End a job, or take it out of the queue. Raises WorkshopError where Slurm does not."""
    ask("scancel", [job_number(job)])


def job_number(job: str) -> str:
    """Return a job's number; WorkshopError for anything else, which would be an option to Slurm."""
    if not JOB.fullmatch(job):
        raise WorkshopError(
            f"{job!r} is no job's number, such as 123 or 123_4; `squeue --me` lists your jobs."
        )
    return job
