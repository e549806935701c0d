"""Traces with damaged lines: left out and counted, by the panel's rule, and no traceback in any reader."""

import json
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.figures.trace_figure import trace_figure
from workshop_utils.lessons.trace_table import trace_table
from workshop_utils.monitor.trace import Trace, read_trace
from workshop_utils.monitor.trace_summary import gpu_summaries

T = 1790000000
GPU = {"index": 0, "name": "H100", "memory_used_bytes": 7, "utilization_percent": 40}


def sample(second: float, *gpus: Any, **more: Any) -> dict[str, Any]:
    given = {"status": "ok", "error": None, "data": list(gpus)}
    return {"version": 1, "kind": "sample", "time": T + second, "gpus": given, **more}


def read(folder: Path, *rows: Any, **header: Any) -> Trace:
    """Write rows, text as it is, between two good samples, and an end."""
    head = {"version": 1, "kind": "trace", "time": T, **header}
    whole = [head, sample(0, GPU), *rows, sample(9, GPU), {"kind": "end", "time": T + 10}]
    text = "\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in whole)
    (folder / "t.ndjson").write_text(text + "\n", encoding="utf-8", errors="surrogateescape")
    return read_trace(folder / "t.ndjson")


@pytest.mark.parametrize(
    "row",
    [
        "nonsense",
        "null",
        "[1]",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"version": 1, "kind": "sample", "time": NaN}',
        '{"kind": "mark", "text": "\udcff"}',
        sample(1, GPU, time=None),
        sample(1, GPU, time="now"),
        sample(1, GPU, time=1e300),
        sample(1, GPU, time=10**400),
        sample(1, GPU, time=-1),
        sample(1, GPU, time=True),
        sample(1, GPU, gpus=None),
        sample(1, GPU, version=2),
        sample(1, 5),
        sample(1, gpus={"status": "ok", "data": {}}),
        sample(-1, GPU),
        sample(10**9, GPU),
        {"version": 1, "kind": "sample", "time": T + 1},
        {"version": 1, "kind": "sample", "gpus": {"status": "ok", "data": []}},
        {"kind": "mark", "text": "without a time"},
        {"kind": "mark", "text": "absurd", "time": 1e300},
    ],
    ids=lambda row: str(row)[:60],
)
def test_a_line_that_cannot_be_read_is_left_out_and_counted(
    tmp_path: Path, row: Any, caplog: pytest.LogCaptureFixture
) -> None:
    trace = read(tmp_path, row)
    assert (len(trace.samples), trace.marks, trace.skipped, trace.seconds) == (2, (), 1, 9)
    assert trace.end is not None
    assert "t.ndjson: lines that cannot be read and are left out: 1." in caplog.text
    assert gpu_summaries(trace)[0]["peak_memory_bytes"] == 7


@pytest.mark.parametrize(
    "gpu",
    [
        {},
        {"name": None, "index": None},
        {"name": ["x"], "index": [0]},
        {**GPU, "memory_used_bytes": "much", "utilization_percent": [1], "energy_joules": 1e300},
        {**GPU, "memory_used_bytes": 10**300, "power_watts": True, "throttle_reasons": [{}, None]},
    ],
    ids=str,
)
def test_a_gpu_with_odd_fields_keeps_the_others(tmp_path: Path, gpu: Any) -> None:
    trace = read(tmp_path, sample(1, gpu), sample(2, gpu))
    assert (len(trace.samples), trace.skipped) == (4, 0)
    (found,) = gpu_summaries(trace)
    assert (found["peak_memory_bytes"], found["joules"]) == (7, None)
    assert trace_figure(trace)._repr_png_().startswith(b"\x89PNG")
    assert trace_table(trace).rows
    lone = Trace(trace.header, trace.samples[1:3], (), None)
    (found,) = gpu_summaries(lone)
    assert found["name"] in ("", "H100")


@pytest.mark.parametrize("header", [{"hardware": 5, "versions": [1]}, {"hardware": None}, {"hz": "x"}])
def test_an_odd_header_is_read_and_drawn(tmp_path: Path, header: dict[str, Any]) -> None:
    mark = {"kind": "mark", "time": T + 1, "text": {"no": "text"}}
    trace = read(tmp_path, mark, **header)
    assert trace.skipped == 0
    assert "hardware not noted" in repr(trace_figure(trace))


def test_what_javascript_writes_raw_in_a_line_does_not_end_it(tmp_path: Path) -> None:
    text = "a\u2028b\u0085c\x1c"
    trace = read(tmp_path, {"kind": "mark", "time": T + 1, "text": text[:-1]}, {"version": 1, "kind": "plan"})
    assert [mark["text"] for mark in trace.marks] == [text[:-1]]
    assert trace.skipped == 0


def test_lines_of_other_kinds_and_empty_ones_are_no_damage(tmp_path: Path) -> None:
    trace = read(tmp_path, "", {"version": 1, "kind": "owners"}, {"version": 1, "kind": "new"}, " \r")
    assert (len(trace.samples), trace.skipped) == (2, 0)


def test_the_first_sample_may_be_the_one_with_the_wrong_time(tmp_path: Path) -> None:
    rows = [sample(second, GPU) for second in (10**7, 0, 1, 1, 3)]
    (tmp_path / "t.ndjson").write_text(
        "\n".join(map(json.dumps, [{"version": 1, "kind": "trace"}, *rows])), encoding="utf-8"
    )
    trace = read_trace(tmp_path / "t.ndjson")
    assert ([each["time"] - T for each in trace.samples], trace.skipped) == ([0, 1, 3], 2)


def test_a_summary_of_no_sample_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "t.ndjson").write_text('{"version": 1, "kind": "trace"}\n{"kind": "sample"}\n')
    trace = read_trace(tmp_path / "t.ndjson")
    assert (trace.samples, trace.seconds, trace.skipped) == ((), 0, 1)
    with pytest.raises(WorkshopError, match="no sample that can be read; record it anew"):
        gpu_summaries(trace)
