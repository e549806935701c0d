"""A real Slurm cluster of a few nodes, on ports of its own: it may run beside other tests' clusters."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

# Relative, since the browser tests know this folder by another name.
from .running import missing, running_cluster

# Below the ports that the system hands out; a cluster takes its first, and ten on from that one a node.
FIRST_PORT, LAST_PORT, PORTS = 19000, 30000, 20


def free_base() -> int:
    """Return the first of twenty ports that nobody listens on."""
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
def small_cluster(folder: Path, *nodes: str) -> Iterator[dict[str, str]]:
    """Run nodes of eight GPUs in the partition gpu; yields a client's environment. Skips without Slurm."""
    if reason := missing():
        pytest.skip(reason)
    rows = [f"{name}:a100:8:8:64000:a100:gpu" for name in nodes]
    # A node for the second partition of cluster.sh.
    other = "spare:rtx3090:1:2:8000:rtx3090:interactive"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_FIXTURE_NODES", "\n".join(["", *rows, other, ""]))
        patch.setenv("SLURM_FIXTURE_PORT", str(free_base()))
        with running_cluster(folder) as environment:
            yield environment
