"""The figures of speed: rooflines, bars of one GPU and two, and the cuts of a matrix product."""

import pytest

from workshop_utils.figures.matrix_cuts import RANKS, SHARED, matrix_cuts_figure
from workshop_utils.figures.roofline import Mark, roofline_figure
from workshop_utils.figures.speed_bars import TWO_LABEL, Speed, speed_bars

CPU = (20e9, 100e9)
GPU = (3000e9, 700e12)
MARKS = [Mark("prefill", 200, 80e9), Mark("decode", 0.5, 5e9), Mark("decode, batch 8", 4, 20e9)]


def test_a_roofline_bends_where_slope_and_roof_meet() -> None:
    picture = roofline_figure(MARKS, *CPU, "a note")
    (axes,) = picture.figure.axes
    roof = axes.lines[0]
    assert roof.get_xdata()[1] == 5.0
    assert list(roof.get_ydata()[1:]) == [100, 100]
    assert roof.get_ydata()[0] == pytest.approx(20 * roof.get_xdata()[0])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_every_mark_says_its_speed_and_its_share_of_the_limit() -> None:
    picture = roofline_figure(MARKS, *CPU, "a note")
    words = [text.get_text() for text in picture.figure.axes[0].texts]
    assert "prefill: 80 GFLOP/s (80%)" in words
    assert "decode: 5 GFLOP/s (50%)" in words
    assert "decode, batch 8: 20 GFLOP/s (25%)" in words
    assert "a note" in repr(picture)


def test_all_marks_lie_inside_the_axes() -> None:
    for speeds in (CPU, GPU):
        (axes,) = roofline_figure(MARKS, *speeds, "").figure.axes
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        for line in axes.lines:
            assert all(left <= x <= right for x in line.get_xdata())
            assert all(low <= y <= high for y in line.get_ydata())


def test_a_gpu_is_counted_in_tflops() -> None:
    (axes,) = roofline_figure(MARKS, *GPU, "").figure.axes
    assert axes.get_ylabel() == "TFLOP/s"
    assert "matrix product: 700 TFLOP/s" in [text.get_text() for text in axes.texts]


def test_bars_alone_show_their_share_of_a_limit() -> None:
    picture = speed_bars(
        [Speed("a", 20.0), Speed("b", 50.0)], title="t", note="n", limit=100, limit_label="L"
    )
    (axes,) = picture.figure.axes
    assert [text.get_text() for text in axes.texts] == ["20  (20%)", "50  (50%)"]
    assert [line.get_xdata()[0] for line in axes.lines] == [100]
    assert axes.get_xlim()[1] > 100
    assert [text.get_text() for text in picture.figure.legends[0].texts] == ["L"]


def test_pairs_show_how_many_times_as_fast_two_are() -> None:
    picture = speed_bars([Speed("a", 20.0, 30.0), Speed("b", 50.0)], title="t", note="n")
    (axes,) = picture.figure.axes
    assert [text.get_text() for text in axes.texts] == ["20", "30  (1.50 ×)", "50"]
    assert [text.get_text() for text in picture.figure.legends[0].texts] == ["one GPU", TWO_LABEL]
    assert "a 20 on one, 30 on two; b 50" in repr(picture)
    places = [bar.get_y() for bar in axes.patches]
    assert places == sorted(places)


def test_both_cuts_are_drawn_and_told() -> None:
    picture = matrix_cuts_figure()
    assert len(picture.figure.axes) == 2
    used = {patch.get_facecolor() for axes in picture.figure.axes for patch in axes.patches}
    assert len(used) == len({*RANKS, SHARED})
    assert "one all-reduce" in repr(picture)
