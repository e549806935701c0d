"""Writing a trace while something runs: samples as they come, marks between them, an end."""

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.sample import STREAM_VERSION, Sample
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.subscription import Subscription
from workshop_utils.monitor.trace import KIND

STOP_SECONDS = 2.0


class TraceWriter:
    """Writes a trace from ``start`` to ``stop`` in its own thread; any thread may call ``mark``.

    Every line is flushed, so that of a killed recording the last line at most is cut.
    Times are ``ticks`` and the most by which the wall clock was seen ahead of them, so that they never go
    back: a clock that is set back changes no distance, a laptop that slept leaves a gap.
    """

    file: Path

    def __init__(self, file: Path | None, sampler: Sampler, hz: float, header: Mapping[str, Any]) -> None:
        self._names = default_names() if file is None else (file,)
        self._sampler = sampler
        self._hz = hz
        self._header = header
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._ahead = self._sampled_at = float("-inf")
        self._stopped = False
        self._out: TextIO | None = None
        self._subscription: Subscription | None = None
        self._thread = threading.Thread(target=self._run, name="workshop-trace", daemon=True)
        self._broken: OSError | None = None

    def start(self) -> None:
        """Open the file, None: the first dated name that is free, and begin.

        WorkshopError where it is there already or cannot be written.
        """
        self.file, self._out = open_new(self._names)
        head = {"version": STREAM_VERSION, "kind": KIND, "time": self._now(), "hz": self._hz}
        self._write(as_line({**head, **self._header}))
        first = self._sampler.latest(0)
        if first is not None:  # what runs for less than a tick leaves a sample as well
            self._write_sample(first)
        self._subscription = self._sampler.subscribe(self._hz, self._awake.set)
        self._thread.start()

    def mark(self, text: str, **more: Any) -> None:
        """Note that something happened now: a phase began, a cell ended. What is no JSON becomes text."""
        self._write(as_line({"kind": "mark", "time": self._now(), "text": text, **more}))

    def stop(self, **more: Any) -> None:
        """Write the newest sample and the end line; WorkshopError where the disk took not all of it."""
        self._stopped = True
        self._awake.set()
        self._thread.join(STOP_SECONDS)
        if self._subscription is not None:
            self._subscription.close()
        self._write(as_line({"kind": "end", "time": self._now(), **more}))
        with self._lock:
            out, self._out = self._out, None
        if out is not None:
            try:
                out.close()
            except OSError as error:  # a full disk takes the rest of the buffer as little
                self._broken = self._broken or error
        if self._broken is not None:
            raise WorkshopError(f"{self.file} is not complete ({self._broken.strerror}); free some space.")

    def _run(self) -> None:
        while not self._stopped:
            self._awake.wait()
            self._awake.clear()
            self._take()
        self._take()

    def _take(self) -> None:
        sample = self._subscription.take() if self._subscription is not None else None
        if sample is not None:
            self._write_sample(sample)

    def _write_sample(self, sample: Sample) -> None:
        moment = self._at(sample.time, sample.ticks)
        if moment > self._sampled_at:  # readers leave out what is no newer
            self._sampled_at = moment
            self._write(replace(sample, time=moment).frame)

    def _now(self) -> float:
        return self._at(time.time(), time.monotonic())

    def _at(self, wall: float, ticks: float) -> float:
        with self._lock:
            self._ahead = max(self._ahead, wall - ticks)
            return round(ticks + self._ahead, 3)

    def _write(self, line: str) -> None:
        """Append a line. A full disk ends the recording, not what is recorded."""
        with self._lock:
            if self._out is None or self._broken is not None:
                return
            try:
                self._out.write(line + "\n")
                self._out.flush()
            except OSError as error:
                self._broken = error


def default_names() -> Iterator[Path]:
    """Yield names for a trace in this folder: of what Slurm starts in one second, each takes its own."""
    rank = os.environ.get("SLURM_PROCID", "")
    stem = f"trace-{datetime.now(UTC):%Y%m%d-%H%M%S}" + (f"-rank{rank}" if rank.isdecimal() else "")
    yield Path(f"{stem}.ndjson")
    yield from (Path(f"{stem}-{number}.ndjson") for number in count(2))


def open_new(files: Iterable[Path]) -> tuple[Path, TextIO]:
    """Open the first of these files that is not there; WorkshopError where all are, or for a bad folder."""
    for file in files:
        try:
            return file, file.open("x", encoding="utf-8")
        except FileExistsError:
            continue
        except OSError as error:
            raise WorkshopError(f"cannot write {file} ({error.strerror}); give another folder.") from error
    raise WorkshopError(f"{file} is there already; give another name, or remove it.")


def as_line(row: Mapping[str, Any]) -> str:
    return json.dumps(plain(row))


def plain(value: Any) -> Any:
    """Return what JSON can hold of a value: else its text, null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
