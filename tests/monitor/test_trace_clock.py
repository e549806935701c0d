"""A trace whose machine's clock is set, and what JSON cannot hold in it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.hardware.reading import Reading
from workshop_utils.monitor import trace_writer as trace_module
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.trace import read_trace
from workshop_utils.monitor.trace_writer import TraceWriter


class Clock:
    """A wall clock that can be set, and the ticks beside it."""

    def __init__(self) -> None:
        self.wall, self.ticks = 1790000000.0, 50.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def advance(self, seconds: float, jump: float = 0) -> None:
        self.wall += seconds + jump
        self.ticks += seconds


class Quiet:
    """A sampler that samples when it is told to."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.offered: list[Sample] = []

    def latest(self, _wait: float) -> Sample:
        return Sample(self.clock.wall, self.clock.ticks, Reading.missing("none"), Reading.missing("none"))

    def subscribe(self, _hz: float, _wake: Any) -> "Quiet":
        return self

    def take(self) -> Sample | None:
        return self.offered.pop() if self.offered else None

    def close(self) -> None: ...


def started(file: Path, sampler: Any) -> TraceWriter:
    writer = TraceWriter(file, sampler, 1, {})
    writer.start()
    return writer


def test_times_keep_their_distance_when_the_clock_is_set_back_and_a_jump_ahead_stays_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(trace_module, "time", clock)
    sampler = Quiet(clock)
    writer = started(tmp_path / "t.ndjson", sampler)
    for jump in (0, -60, 0, 60, 0, 1000):
        clock.advance(1, jump)
        sampler.offered.append(sampler.latest(0))
        writer._take()
        sampler.offered.append(sampler.latest(0))  # no newer
        writer._take()
        writer.mark("here")
    clock.advance(1, -5000)
    writer.stop()
    rows = [json.loads(line) for line in (tmp_path / "t.ndjson").read_text().splitlines()]
    times = [row["time"] - 1790000000 for row in rows]
    assert times == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 1006, 1006, 1007]
    assert read_trace(tmp_path / "t.ndjson").seconds == 1006


def test_a_trace_of_a_clock_that_was_set_back_is_no_shorter_than_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows: list[dict[str, Any]] = [{"version": 1, "kind": "trace"}]
    rows += [
        {"version": 1, "kind": "sample", "time": 1790000000 + at, "gpus": {"status": "ok", "data": []}}
        for at in (0, 1, -58, -57.2)
    ]
    (tmp_path / "t.ndjson").write_text("\n".join(map(json.dumps, rows)))
    trace = read_trace(tmp_path / "t.ndjson")
    assert (trace.seconds, trace.skipped) == (1, 2)
    assert "left out: 2." in caplog.text


def test_a_mark_takes_whatever_the_reader_gives_it(tmp_path: Path) -> None:
    writer = started(tmp_path / "t.ndjson", Quiet(Clock()))
    writer.mark("x", shape={1}, loss=float("nan"), most=[float("inf"), 2.5], at={(1, 2): tmp_path}, n=True)
    writer.stop()
    (mark,) = read_trace(tmp_path / "t.ndjson").marks
    assert (mark["shape"], mark["loss"], mark["most"]) == ("{1}", None, [None, 2.5])
    assert (mark["at"], mark["n"]) == ({"(1, 2)": str(tmp_path)}, True)


def test_the_sampler_reads_both_clocks_at_once() -> None:
    """Else the time that the host takes would look like a clock that was set."""

    class SlowHost:
        def read(self) -> Reading[None]:
            time.sleep(0.3)
            return Reading.missing("slow")

        def close(self) -> None: ...

    class NoGpus:
        def read(self) -> Reading[Any]:
            return Reading.missing("none")

        def close(self) -> None: ...

    sampler = Sampler(NoGpus(), SlowHost())
    sample = sampler.latest()
    sampler.stop()
    assert sample is not None
    clocks = time.time() - time.monotonic()
    assert sample.time - sample.ticks == pytest.approx(clocks, abs=0.1)
