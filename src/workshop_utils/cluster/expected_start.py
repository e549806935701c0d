"""When a job with one GPU of a type would start: ``sbatch --test-only``, which submits nothing."""

import re
from collections.abc import Sequence

from workshop_utils.cluster import submit
from workshop_utils.cluster.nodes import Node
from workshop_utils.errors import WorkshopError


def check_name(what: str, name: str | None) -> None:
    """Raise WorkshopError unless ``name`` can be a partition or an account of Slurm's, or is None."""
    if name is not None and not re.fullmatch(r"[\w.,-]+", name):
        raise WorkshopError(f"{what} {name!r} is no name of Slurm's; `sinfo` lists partitions.")


def expected_start(  # noqa: PLR0913 - a job, as sbatch wants it
    gpu: str,
    nodes: Sequence[Node],
    *,
    cores: int,
    memory_bytes: int,
    hours: float,
    account: str | None = None,
    partition: str | None = None,
) -> str:
    """Return when Slurm would start a job with one GPU of a type, or why it takes none.

    Without a ``partition`` it is asked in the first one of a node that has such GPUs. Raises WorkshopError
    without Slurm, for one that does not answer, and for names that are none.
    """
    check_name("account", account)
    check_name("partition", partition)
    first = next(node.partitions[0] for node in nodes if gpu in node.gpus)
    wanted = {
        "partition": partition or first, "gres": f"gpu:{gpu}:1", "nodes": 1, "cpus-per-task": cores,
        "mem": f"{memory_bytes // 2**20 or 1}M", "time": max(1, round(hours * 60)),
        **({"account": account} if account else {}),
    }  # fmt: skip
    lines = [f"#SBATCH --{name}={value}" for name, value in wanted.items()]
    answer = submit.test_only("\n".join(["#!/bin/sh", *lines, "true\n"]))
    if not answer.accepted:
        return f"refused: {answer.refusal.said}" if answer.refusal else "refused"
    return (answer.start or "?").replace("T", " ")
