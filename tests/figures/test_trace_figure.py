"""A recording cut at its marks: what counts, what a figure draws of it, and what is not there."""

from math import isnan
from pathlib import Path

import pytest
from matplotlib.figure import Figure as Canvas

from tests.figures.made_traces import GPU, gpu, made, two_phases
from workshop_utils.errors import WorkshopError
from workshop_utils.figures.trace_figure import NO_GPUS, line_of, name_lines, style_of, trace_figure
from workshop_utils.figures.trace_phases import (
    DRAM,
    MEMORY,
    NVLINK,
    POWER,
    SM,
    UTILISATION,
    WHOLE,
    Phase,
    phases,
    where_recorded,
)
from workshop_utils.monitor.trace import read_trace


def titles(figure: Canvas) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_a_phase_goes_from_mark_to_mark_and_counts_samples_in_which_a_gpu_computes(tmp_path: Path) -> None:
    alone, both = phases(two_phases(tmp_path))
    assert (alone.name, alone.began, alone.ended) == ("alone", pytest.approx(0.01, abs=1e-3), 4)
    assert (both.name, both.began, both.ended) == ("both at work", 4, 15)
    assert (alone.computing_seconds, both.computing_seconds) == (2, 2)
    assert [alone.value(0, figure) for figure in (UTILISATION, SM, DRAM, NVLINK, MEMORY, POWER)] == [
        100, 50, 25, 3, 30, 150,
    ]  # fmt: skip
    assert [alone.value(1, figure) for figure in (UTILISATION, SM, MEMORY, POWER)] == [0, 0, 10, 100]
    assert [both.value(index, SM) for index in (0, 1)] == [80, 20]


def test_a_median_leaves_out_what_was_not_reported_and_a_gpu_that_is_lost(tmp_path: Path) -> None:
    lost = {"index": 1, "name": GPU, "status": "lost", "error": "it fell off the bus"}
    samples = [(gpu(0, 50), gpu(1, 30)), (gpu(0, 70), lost), (gpu(0, 90, dram_percent=None), lost)]
    (phase,) = phases(made(tmp_path, list(enumerate(samples)), [(0, "decode")]))
    assert (phase.value(0, SM), phase.value(1, SM)) == (70, 30)
    assert phase.value(0, DRAM) == 30
    assert phase.value(1, MEMORY) == 10
    assert phase.value(2, SM) is None


def test_without_sm_activity_utilisation_says_that_a_gpu_computes(tmp_path: Path) -> None:
    samples = [(gpu(0, None, utilization_percent=busy, dram_percent=None),) for busy in (0, 50, 90)]
    trace = made(tmp_path, list(enumerate(samples)))
    (phase,) = phases(trace)
    assert (phase.name, phase.value(0, UTILISATION), phase.value(0, SM)) == (WHOLE, 70, None)
    assert titles(trace_figure(trace).figure) == ["utilisation, %", "memory in use, GiB", "power, W"]


def test_what_lies_before_the_first_mark_is_a_phase_unless_it_is_one_sample(tmp_path: Path) -> None:
    samples = [(second, (gpu(0, 50),)) for second in range(6)]
    early, late = (made(tmp_path, samples, [(second, "decode")]) for second in (0.5, 3))
    assert [phase.name for phase in phases(early)] == ["decode"]
    assert [phase.name for phase in phases(late)] == ["before “decode”", "decode"]


def test_a_line_breaks_where_a_value_is_missing_or_nothing_was_measured(tmp_path: Path) -> None:
    lost = {"index": 0, "status": "lost"}
    samples = [
        (0, (gpu(0, 1),)),
        (1, (gpu(0, 2),)),
        (2, (lost,)),
        (3, None),
        (4, (gpu(0, 5),)),
        (9, (gpu(0, 6),)),
    ]
    seconds, values = line_of(made(tmp_path, samples), 0, SM)
    assert seconds == [0, 1, 2, 3, 4, 4, 9]
    assert [None if isnan(value) else value for value in values] == [1, 2, None, None, 5, None, 6]


def test_a_figure_draws_every_gpu_and_says_what_it_shows(tmp_path: Path) -> None:
    picture = trace_figure(two_phases(tmp_path))
    assert titles(picture.figure) == [
        "SM activity, %",
        "memory bandwidth, %",
        "memory in use, GiB",
        "power, W",
    ]
    for axes in picture.figure.axes:
        assert [line.get_label() for line in axes.lines[:2]] == ["GPU 0", "GPU 1"]
    memory = picture.figure.axes[2].lines[0].get_ydata()
    assert [value for value in memory if not isnan(value)] == [10, 10, 30, 10, 10, 10]
    names = [text.get_text().split() for text in picture.figure.axes[0].texts]
    assert names == [["1", "alone"], ["2", "both", "at", "work"]]
    assert "alone: GPU 0 50, GPU 1 0; both at work: GPU 0 80, GPU 1 20. recorded on 2 × " in repr(picture)
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_gpus_differ_by_more_than_colour() -> None:
    first, second = style_of(0), style_of(1)
    assert first["linestyle"] != second["linestyle"]
    assert first["linewidth"] > 2 * second["linewidth"]
    looks = [
        (style["color"], str(style["linestyle"]), style["linewidth"]) for style in map(style_of, range(8))
    ]
    assert len(set(looks)) == len(looks)


def test_a_name_stands_only_where_it_has_room() -> None:
    assert name_lines(Phase("layers split by Accelerate", 0, 20, (), 1), 100) == [
        "layers split by",
        "Accelerate",
    ]
    assert name_lines(Phase("layers split by Accelerate", 0, 5, (), 1), 100) == []
    assert name_lines(Phase("x", 3, 3, (), 1), 100) == []


def test_where_a_trace_comes_from(tmp_path: Path) -> None:
    trace = made(tmp_path, [(0, (gpu(0), gpu(1)))], end=False, edited="every second sample")
    assert where_recorded(trace) == (
        f"recorded on 2 × {GPU}, CPU x, 8 cores; torch 2.11.0; 2026-09-21; edited: every second sample; "
        "cut off before its end"
    )
    trace = made(tmp_path, [], hardware=None, versions=None, date=None)
    assert where_recorded(trace) == "recorded on hardware not noted; date not noted"


@pytest.mark.parametrize("samples", [[], [(0, None), (1, None)], [(0, ())]])
def test_without_gpus_the_figure_is_one_sentence(tmp_path: Path, samples: list[tuple[float, None]]) -> None:
    picture = trace_figure(made(tmp_path, samples, [(0, "decode")]))
    assert repr(picture) == NO_GPUS
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_one_sample_and_a_phase_in_which_nothing_computes_are_drawn(tmp_path: Path) -> None:
    picture = trace_figure(made(tmp_path, [(0, (gpu(0),))], [(0, "start")]))
    assert "start: no GPU computes" in repr(picture)
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_a_file_that_is_no_trace_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "numbers.ndjson"
    file.write_text('{"id": 1}\n')
    with pytest.raises(WorkshopError, match=r"numbers\.ndjson is no trace"):
        trace_figure(read_trace(file))
