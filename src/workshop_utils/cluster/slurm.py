"""Asking Slurm: its programs, run without a shell, for a limited time, and their text."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from workshop_utils.errors import WorkshopError

PATIENCE_S = 20.0
# What its programs say where neither SLURM_CONF nor a usual place names a cluster.
UNCONFIGURED = "configuration source"
NO_CLUSTER = (
    "Slurm's programs are here but no cluster is configured; load its module, or run it on a cluster's login "
    "node"
)


def ask(program: str, options: Sequence[str] = (), patience_s: float = PATIENCE_S) -> str:
    """Return what ``program`` of Slurm prints.

    Raises WorkshopError where Slurm is not there, does not answer within ``patience_s`` seconds or refuses;
    its own last line is quoted.
    """
    if shutil.which(program) is None:
        raise WorkshopError(
            f"there is no {program} here: this machine has no Slurm, or its module is not loaded; run it on "
            "a cluster's login node or in a job."
        )
    # Slurm's times and numbers in one language, whatever the reader's.
    environment = {**os.environ, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
    try:
        done = subprocess.run(
            [program, *options], capture_output=True, text=True, errors="replace", check=False,
            timeout=patience_s, env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise WorkshopError(
            f"Slurm did not answer {program} within {patience_s:g} s: its controller is busy or away; try "
            "again in a minute."
        ) from None
    if done.returncode and UNCONFIGURED in done.stderr:
        raise WorkshopError(f"{NO_CLUSTER}.")
    if done.returncode:
        said = done.stderr.strip().rsplit("\n", 1)[-1] or f"exit code {done.returncode}"
        raise WorkshopError(f"{program} failed: {said}")
    return done.stdout
