"""Figures draw what they were given, say their unit, and describe themselves in words."""

from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest

from workshop_utils.figures.predicted_and_measured import predicted_and_measured_figure
from workshop_utils.figures.recorded_cases import RecordedCase, recorded_cases_figure
from workshop_utils.figures.slide_and_measured import LABELS, measured_parts, slide_and_measured_figure
from workshop_utils.figures.style import COLOURS, workshop_style
from workshop_utils.measure.measurement import load_measurements
from workshop_utils.measure.provenance import measured_here
from workshop_utils.memory.slide_rule import slide_table

RUNS = load_measurements(Path(__file__).parents[2] / "notebooks" / "recorded" / "gemma_3_4b_h200.json")
CELLS = [cell for cell in slide_table() if cell.label == "4B @ FP16"]


def test_the_parts_of_a_recorded_run_sum_to_the_process() -> None:
    for run in RUNS:
        parts = measured_parts(run)
        assert sum(parts.values()) == run.bytes_of("process")
        assert all(size > 0 for size in parts.values())
        assert parts.keys() == LABELS.keys()


def test_slide_and_measured_shows_both_errors_of_the_slide() -> None:
    picture = slide_and_measured_figure(CELLS, RUNS)
    (axes,) = picture.figure.axes
    assert "GB (decimal)" in axes.get_xlabel()
    assert [label.get_text() for label in axes.get_yticklabels()][-2:] == [
        "131,072 tokens: slide",
        "measured",
    ]
    ends = [float(text.get_text()) for text in axes.texts]
    assert ends == [11.0, 9.6, 12.4, 10.7, 20.8, 19.3, 54.4, 95.9]
    assert "recorded on one NVIDIA H200" in repr(picture)
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_bars_of_a_row_touch_and_do_not_overlap() -> None:
    (axes,) = slide_and_measured_figure(CELLS, RUNS).figure.axes
    last = [container.patches[-1] for container in axes.containers]
    for left, right in pairwise(last):
        assert right.get_x() == pytest.approx(left.get_x() + left.get_width())


def test_predicted_and_measured_leaves_out_what_the_machine_does_not_report() -> None:
    measured = measured_here("memory", {"weights": 2 * 10**6, "kv_cache": 10**6, "libraries": 9}, "run", {})
    picture = predicted_and_measured_figure({"weights": 10**6, "kv_cache": 10**6}, measured)
    (axes,) = picture.figure.axes
    assert "MB (decimal)" in axes.get_xlabel()
    assert [text.get_text() for text in axes.texts] == ["2.0", "3.0"]


def test_the_style_stays_inside_its_block() -> None:
    before = matplotlib.rcParams["axes.facecolor"]
    with workshop_style():
        assert matplotlib.rcParams["axes.facecolor"] != before
    assert matplotlib.rcParams["axes.facecolor"] == before


def test_no_two_kinds_share_a_colour() -> None:
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_recorded_cases_draw_both_predictions_and_mark_what_ran_out_of_memory() -> None:
    cases = [
        RecordedCase("small", 10**10, 10**10, 2 * 10**10, 8 * 10**10, False, True),
        RecordedCase("long", 9 * 10**10, 9 * 10**10, 5 * 10**10, 14 * 10**10, False, True),
        RecordedCase("failed", 8 * 10**10, 9 * 10**10, 9 * 10**10, 8 * 10**10, True, False),
    ]
    picture = recorded_cases_figure(cases, "recorded on a GPU; 2026-01-31")
    (axes,) = picture.figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["the slide's rule"].get_ydata()) == pytest.approx([2, 5 / 9])
    assert list(lines["the estimate"].get_ydata()) == [1, 1]
    assert lines["the estimate; ran out of memory"].get_markerfacecolor() == "none"
    assert {text.get_text() for text in axes.texts} == {"small", "long"}
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert "2026-01-31" in axes.get_xlabel()
    assert "the slide's rule 0.56 to 2.00" in repr(picture)
