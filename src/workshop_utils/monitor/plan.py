"""A plan of GPU memory, on its way from a notebook or terminal to the panel, in a private file."""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workshop_utils.monitor.private_file import read_private, runtime_file, write_private

MOST_BYTES = 1 << 18
# The panel counts in JavaScript, whose whole numbers are exact to here.
MOST_PLANNED_BYTES = 1 << 53


@dataclass(frozen=True)
class PlannedTerm:
    """A part of the plan: ``kind`` is that of the estimate (weights, kv_cache, …)."""

    name: str
    kind: str
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What was planned, and the terms of each GPU in order of the ranks. ``made_at``: seconds since 1970."""

    title: str
    made_at: float
    gpus: tuple[tuple[PlannedTerm, ...], ...]


def plan_file() -> Path:
    """Return where this machine's plan is; WorkshopError without Jupyter."""
    return runtime_file("plan")


def write_plan(title: str, gpus: tuple[tuple[PlannedTerm, ...], ...]) -> Path:
    """Put a plan in place of the last one and return the file."""
    file = plan_file()
    write_private(file, json.dumps(asdict(Plan(title, time.time(), gpus))))
    return file


def read_plan(file: Path) -> Plan | None:
    """Return the plan; None where there is none, or one that is not this user's, not private, or no plan."""
    text = read_private(file, MOST_BYTES)
    if text is None:
        return None
    try:
        row = json.loads(text)
        gpus = tuple(
            tuple(PlannedTerm(str(term["name"]), str(term["kind"]), _size(term["bytes"])) for term in terms)
            for terms in row["gpus"]
        )
        made_at = float(row["made_at"])
        return Plan(str(row["title"]), made_at, gpus) if math.isfinite(made_at) else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _size(value: Any) -> int:
    size = int(value)
    if not 0 <= size <= MOST_PLANNED_BYTES:
        raise ValueError(f"{value!r} is no size of a term")
    return size
