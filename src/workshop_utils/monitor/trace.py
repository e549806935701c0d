"""A trace: what the monitor saw while something ran, one JSON object a line, to be read again anywhere.

The first line is a header (hardware, versions, command, date, rate), then come the stream's own ``sample``
frames with ``mark`` lines between them, and at last an ``end`` line, which a killed recording lacks.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.sample import STREAM_VERSION
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.subscription import Subscription

KIND = "trace"
STOP_SECONDS = 2.0


class TraceWriter:
    """Writes a trace from ``start`` to ``stop`` in its own thread; any thread may call ``mark``.

    Every line is flushed, so that of a killed recording the last line at most is cut.
    """

    def __init__(self, file: Path, sampler: Sampler, hz: float, header: Mapping[str, Any]) -> None:
        self.file = file
        self._sampler = sampler
        self._hz = hz
        self._header = header
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._stopped = False
        self._out: TextIO | None = None
        self._subscription: Subscription | None = None
        self._thread = threading.Thread(target=self._run, name="workshop-trace", daemon=True)
        self._broken: OSError | None = None

    def start(self) -> None:
        """Open the file and begin; WorkshopError where it is there already or cannot be written."""
        try:
            self._out = self.file.open("x", encoding="utf-8")
        except FileExistsError as error:
            raise WorkshopError(f"{self.file} is there already; give another name, or remove it.") from error
        except OSError as error:
            raise WorkshopError(
                f"cannot write {self.file} ({error.strerror}); give another folder."
            ) from error
        head = {"version": STREAM_VERSION, "kind": KIND, "time": time.time(), "hz": self._hz}
        self._write(json.dumps({**head, **self._header}))
        first = self._sampler.latest(0)
        if first is not None:  # what runs for less than a tick leaves a sample as well
            self._write(first.frame)
        self._subscription = self._sampler.subscribe(self._hz, self._awake.set)
        self._thread.start()

    def mark(self, text: str, **more: Any) -> None:
        """Note that something happened now: a phase began, a cell ended."""
        self._write(json.dumps({"kind": "mark", "time": round(time.time(), 3), "text": text, **more}))

    def stop(self, **more: Any) -> None:
        """Write the newest sample and the end line; WorkshopError where the disk took not all of it."""
        self._stopped = True
        self._awake.set()
        self._thread.join(STOP_SECONDS)
        if self._subscription is not None:
            self._subscription.close()
        self._write(json.dumps({"kind": "end", "time": round(time.time(), 3), **more}))
        with self._lock:
            out, self._out = self._out, None
        if out is not None:
            out.close()
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
            self._write(sample.frame)

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


@dataclass(frozen=True)
class Trace:
    """A trace that was read: frames as in the stream. ``end`` is None where the recording was cut off."""

    header: Mapping[str, Any]
    samples: tuple[Mapping[str, Any], ...]
    marks: tuple[Mapping[str, Any], ...]
    end: Mapping[str, Any] | None

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return self.samples[-1]["time"] - self.samples[0]["time"] if self.samples else 0.0

    def gpu_series(self, index: int, figure: str) -> list[tuple[float, Any]]:
        """Return (seconds from the first sample, value) of one figure of one GPU; None where it has none."""
        series = []
        for sample in self.samples:
            gpus = sample["gpus"]["data"] or ()
            gpu = next((gpu for gpu in gpus if gpu["index"] == index), None)
            value = gpu.get(figure) if gpu else None
            series.append((sample["time"] - self.samples[0]["time"], value))
        return series


def read_trace(file: Path) -> Trace:
    """Read a trace; a last line that is cut off is left out. WorkshopError for what is none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise WorkshopError(
            f"cannot read the trace {file} ({reason}); give a file of `workshop record`."
        ) from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise WorkshopError(f"line {number} of {file} is no JSON; the trace is damaged.") from error
        rows.append(row if isinstance(row, dict) else {})
    if not rows or rows[0].get("kind") != KIND:
        raise WorkshopError(
            f"{file} is no trace: it does not begin with a header; see `workshop record --help`."
        )
    if rows[0].get("version") != STREAM_VERSION:
        raise WorkshopError(
            f"{file} has version {rows[0].get('version')!r} and this workshop reads {STREAM_VERSION}; "
            "record it anew."
        )

    def of(kind: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(row for row in rows[1:] if row.get("kind") == kind)

    ends = of("end")
    return Trace(rows[0], of("sample"), of("mark"), ends[-1] if ends else None)
