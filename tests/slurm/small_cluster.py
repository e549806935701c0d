"""A real Slurm cluster of a few nodes, on ports of its own: it may run beside other tests' clusters."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

# Relative, since the browser tests know this folder by another name.
from .running import missing, running_cluster


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
        with running_cluster(folder) as environment:
            yield environment
