"""A plan of GPU memory, on its way from a notebook or terminal to the panel, in a private file."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from workshop_utils.monitor.private_file import read_private, runtime_file, write_private

MOST_BYTES = 1 << 18


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
            tuple(PlannedTerm(str(term["name"]), str(term["kind"]), int(term["bytes"])) for term in terms)
            for terms in row["gpus"]
        )
        return Plan(str(row["title"]), float(row["made_at"]), gpus)
    except (ValueError, TypeError, KeyError):
        return None
