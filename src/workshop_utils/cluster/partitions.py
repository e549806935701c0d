"""The partitions of a cluster and their limits, from ``scontrol show partition``'s text."""

import re
from dataclasses import dataclass

from workshop_utils.cluster.slurm import ask

UNLIMITED = {"UNLIMITED", "INFINITE", "NONE", ""}
# Longer than any job: what a draft says where Slurm has no limit.
YEAR_HOURS = 8760.0


@dataclass(frozen=True)
class PartitionLimits:
    """A partition as Slurm has it; ``most_nodes`` None for no limit of its own."""

    name: str
    most_hours: float
    most_nodes: int | None
    default: bool


def ask_partitions() -> tuple[PartitionLimits, ...]:
    """Return the partitions of this cluster. Raises WorkshopError as ``slurm.ask``."""
    return read_partitions(ask("scontrol", ["--oneliner", "show", "partition"]))


def read_partitions(text: str) -> tuple[PartitionLimits, ...]:
    """Return the partitions in ``text``, a line each; lines without a name are passed over."""
    found = []
    for line in text.splitlines():
        fields = dict(re.findall(r"(\w+)=(\S*)", line))
        name = fields.get("PartitionName")
        if name:
            nodes = fields.get("MaxNodes", "")
            found.append(
                PartitionLimits(
                    name=name,
                    most_hours=read_hours(fields.get("MaxTime", "")),
                    most_nodes=int(nodes) if nodes.isdigit() else None,
                    default=fields.get("Default") == "YES",
                )
            )
    return tuple(found)


def read_hours(text: str) -> float:
    """Return Slurm's ``days-hours:minutes:seconds`` in hours; its shorter forms, too."""
    if text.upper() in UNLIMITED:
        return YEAR_HOURS
    days, dash, clock = text.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        if dash:  # days-hours[:minutes[:seconds]]
            hours, minutes, seconds = (*parts, 0, 0)[:3]
        elif len(parts) == 1:  # minutes
            hours, minutes, seconds = 0, parts[0], 0
        elif len(parts) == 2:  # minutes:seconds
            hours, (minutes, seconds) = 0, parts
        else:
            hours, minutes, seconds = parts[:3]
        return (int(days) if dash else 0) * 24 + hours + minutes / 60 + seconds / 3600
    except ValueError:
        return YEAR_HOURS
