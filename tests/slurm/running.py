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


def accounts_missing() -> str | None:
    """Return what to install for accounts and limits, with which a cluster takes about ten seconds more."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if all(shutil.which(program, path=path) for program in ("slurmdbd", "mariadbd")):
        return None
    return "needs slurmdbd (Debian: apt-get install slurmdbd slurm-wlm-mysql-plugin mariadb-server)"


@contextlib.contextmanager
def running_cluster(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """Start eleven small nodes in the shape of a real centre; yields a client's environment.

    ``settings`` are variables of ``cluster.sh``, such as those of ``site_nodes.settings_of``.
    """
    environment = {**os.environ, **settings}
    how = {"env": environment, "capture_output": True, "timeout": 60}
    subprocess.run([CLUSTER, "start", folder], check=True, **how)  # type: ignore[call-overload]
    try:
        yield {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=False, **how)  # type: ignore[call-overload]
