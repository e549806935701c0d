"""What a script says to the launcher while it runs: its stage, its progress, what it measured.

    from workshop_utils.parallel.launch import notes

    notes.say(stage="decode")
    for token in range(100):
        with notes.waiting(f"all_reduce of token {token}"):
            torch.distributed.all_reduce(logits)
        notes.progress(token + 1, 100)
    notes.hand_back({"tokens_per_s": 41.5})

Each call adds one JSON line to the file named in ``WORKSHOP_RUN_NOTES``; without that variable, as in a
script that runs alone, nothing happens. Every line has ``time``, in seconds since the epoch. One costs some
ten microseconds: inside what is timed to that precision, say nothing.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from workshop_utils.parallel.launch.run_folder import RUN_NOTES

if TYPE_CHECKING:
    from workshop_utils.measure.measurement import Measurement

# The launcher looks ten times a second; more would only fill the file.
PROGRESS_SECONDS = 0.05


class _Said:
    """What the last note was about: progress belongs to a stage, and not every step is worth a line."""

    stage: str | None = None
    progress_at: float = 0.0


def say(stage: str) -> None:
    """Name what this rank does from now on: ``{"stage": "prefill"}``."""
    _Said.stage, _Said.progress_at = stage, 0.0
    note({"stage": stage})


def progress(done: int, of: int) -> None:
    """Say how far the stage is: ``{"stage": "prefill", "done": 3, "of": 10}``. Rank 0's moves the bar."""
    now = time.monotonic()
    if done < of and now - _Said.progress_at < PROGRESS_SECONDS:
        return
    _Said.progress_at = now
    note({"stage": _Said.stage, "done": done, "of": of})


def heartbeat() -> None:
    """Say only that this rank is alive, as in a long step that has no progress to show."""
    note({"heartbeat": True})


@contextmanager
def waiting(collective: str) -> Iterator[None]:
    """Announce that this rank enters and leaves a collective: ``{"waiting": …}``, ``{"left": …}``.

    When a run hangs, the launcher can so say who waits for whom.
    """
    note({"waiting": collective})
    try:
        yield
    finally:
        note({"left": collective})


def memory(**sizes_bytes: int) -> None:
    """Note bytes of this rank's GPU: ``predicted_bytes``, ``used_bytes``, ``total_bytes``, all or some.

    They are shown when a rank runs out of memory. A later note adds to an earlier one.
    """
    note({"memory": sizes_bytes})


def hand_back(measurement: "Measurement | Mapping[str, Any]") -> None:
    """Give a measurement to whoever launched this run: ``{"measurement": {…}}``.

    Numbers of numpy and torch become plain ones. TypeError for what JSON cannot say.
    """
    content = asdict(measurement) if is_dataclass(measurement) else dict(measurement)
    note({"measurement": content})


def note(row: Mapping[str, Any]) -> None:
    """Add one line. It is written at once and whole, so that a rank that is killed has said it."""
    path = os.environ.get(RUN_NOTES)
    if path is None:
        return
    line = json.dumps({**row, "time": time.time()}, default=float) + "\n"
    os.write(_opened(path), line.encode())


@cache
def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
