"""Which warnings somebody wants, and from where on; read from the query of the stream's address."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PERCENT = (0.1, 100.0)
MINUTES = (0.01, 1440.0)
UNITS = ("GiB", "GB")


@dataclass(frozen=True)
class WarningSettings:
    """None is off. The fields are the names in the query; there, 0 is off.

    ``gpu_memory_percent`` is of a GPU's memory, ``job_memory_percent`` of what the job may use; a GPU is idle
    after ``idle_minutes``. With ``watch_alone`` the server goes on looking while no page is open.
    """

    gpu_memory_percent: float | None = 95.0
    job_memory_percent: float | None = 90.0
    idle_minutes: float | None = 15.0
    throttling: bool = True
    watch_alone: bool = False
    unit: str = "GiB"


RANGES = {"gpu_memory_percent": PERCENT, "job_memory_percent": PERCENT, "idle_minutes": MINUTES}
SWITCHES = ("throttling", "watch_alone")


def read_settings(query: Mapping[str, str]) -> tuple[WarningSettings | None, str | None]:
    """Return the settings, None where the query has none, and a note on each value that cannot be used.

    A bad value falls back to the default: a warning that is wanted should not be lost to a slip.
    """
    found: dict[str, Any] = {}
    notes = []
    for name in [*RANGES, *SWITCHES, "unit"]:
        if name in query:
            try:
                found[name] = value_of(name, query[name])
            except ValueError as error:
                found[name] = getattr(WarningSettings(), name)
                notes.append(f"{name}={query[name][:40]} is {error}; {shown(found[name])} is used.")
    return (WarningSettings(**found) if found else None), " ".join(notes) or None


def value_of(name: str, text: str) -> float | bool | str | None:
    """Return one value; ValueError with what was expected."""
    if name in SWITCHES:
        if text not in {"0", "1"}:
            raise ValueError("neither 0 (off) nor 1 (on)")
        return text == "1"
    if name == "unit":
        if text not in UNITS:
            raise ValueError("neither GiB nor GB")
        return text
    low, high = RANGES[name]
    number = float_or_nan(text)
    if number == 0:
        return None
    if not low <= number <= high:
        raise ValueError(f"neither 0 (off) nor a number from {low:g} to {high:g}")
    return number


def float_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def shown(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:g}" if isinstance(value, float) else str(value)
