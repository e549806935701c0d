"""Recorded runs on one and two GPUs: which ones there are, and how much faster one is than another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.measurement import Measurement, load_measurements

# Every such file in the notebooks' folder of recordings counts: later ones appear by themselves. Times on
# H100s and on H200s stay apart.
H100_FILES, H200_FILES = "*_h100_*.json", "two_h200_*.json"
TOKENS_PER_S, TTFT_MS = "tokens_per_s", "ttft_ms"
# A short prompt; None where it was not noted.
SHORT_PROMPTS = (128, None)


def load_runs(folder: Path | str = "recorded", files: str = H100_FILES) -> tuple[Measurement, ...]:
    """Return all runs recorded on H100s, or in other ``files``, in order; WorkshopError without any."""
    found = sorted(Path(folder).glob(files))
    if not found:
        raise WorkshopError(f"there is no {files} in {folder}; run the notebook in its own folder.")
    return tuple(run for file in found for run in load_measurements(file))


def select(runs: Sequence[Measurement], value: str = TOKENS_PER_S, **settings: Any) -> list[Measurement]:
    """Return the runs that have ``value`` and these settings."""
    return [
        run
        for run in runs
        if value in run.values and all(run.settings.get(name) == wish for name, wish in settings.items())
    ]


def short_runs(runs: Sequence[Measurement], model: str) -> list[Measurement]:
    """Return the decode speeds of one sequence behind a short prompt."""
    return [run for run in select(runs, model=model, batch=1) if run.settings["tokens"] in SHORT_PROMPTS]


def one(runs: Sequence[Measurement], value: str = TOKENS_PER_S, **settings: Any) -> float:
    """Return ``value`` of the one run with these settings; WorkshopError unless there is exactly one."""
    found = select(runs, value, **settings)
    if len(found) != 1:
        asked = ", ".join(f"{name} {wish}" for name, wish in settings.items())
        raise WorkshopError(f"{len(found)} recorded runs have {value} and {asked}; one was expected.")
    return found[0].values[value].value


def note_of(runs: Sequence[Measurement]) -> str:
    """Return where, with what and when runs were recorded, in one line."""
    hardware = " and ".join(dict.fromkeys(run.hardware for run in runs))
    versions: dict[str, None] = {}
    for run in runs:
        versions |= dict.fromkeys(f"{name} {version}" for name, version in run.versions.items())
    dates = dict.fromkeys(run.date[: len("2026-01-31")] if run.date else "date not noted" for run in runs)
    return f"recorded on {hardware}; {', '.join(versions)}; {' and '.join(dates)}"
