"""A real Slurm cluster for a test: ``cluster.sh`` in a scratch folder, and its end."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

CLUSTER = Path(__file__).with_name("cluster.sh")
PROGRAMS = ("munged", "slurmctld", "slurmd")


def missing() -> str | None:
    """Return what to install where Slurm is not there."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if all(shutil.which(program, path=path) for program in PROGRAMS):
        return None
    return "needs Slurm (Debian: apt-get install slurm-wlm munge; `make slurm` as root)"


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start eleven small nodes in the shape of a real centre; yields a client's environment."""
    environment = dict(os.environ)
    subprocess.run([CLUSTER, "start", folder], check=True, capture_output=True, timeout=60)
    try:
        yield {**environment, "SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=False, capture_output=True, timeout=60)
