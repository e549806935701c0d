"""A real Slurm cluster for a test: ``cluster.sh`` in a scratch folder, and its end."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

CLUSTER = Path(__file__).with_name("cluster.sh")
# Below the ports that the system hands out, above those at which ranks of `workshop run --nodes` meet in the
# first jobs of a cluster. A cluster takes its first three, and from the tenth on one a node.
FIRST_PORT, LAST_PORT, PORTS = 22_000, 30_000, 50
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


def free_base() -> int:
    """Return the first of fifty free ports; test processes begin to look at different ones."""
    span = (LAST_PORT - FIRST_PORT) // PORTS
    for step in range(span):
        base = FIRST_PORT + PORTS * ((os.getpid() + step) % span)
        with contextlib.suppress(OSError):
            for port in range(base, base + PORTS):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return base
    raise RuntimeError("no free ports")


@contextlib.contextmanager
def running_cluster(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """Start eleven small nodes in the shape of a real centre; yields a client's environment.

    ``settings`` are variables of ``cluster.sh``, such as those of ``site_nodes.settings_of``.
    """
    environment = {**os.environ, "SLURM_FIXTURE_PORT": str(free_base()), **settings}
    how = {"env": environment, "capture_output": True, "timeout": 60}
    subprocess.run([CLUSTER, "start", folder], check=True, **how)  # type: ignore[call-overload]
    try:
        yield {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=False, **how)  # type: ignore[call-overload]
