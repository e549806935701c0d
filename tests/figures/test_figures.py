"""Figures draw what they were given, say their unit, and describe themselves in words."""

from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest

from workshop_utils.figures.predicted_and_measured import predicted_and_measured_figure
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
