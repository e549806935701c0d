"""Scaling curves of notebooks 04 to 06: every recorded run is on them, inside the expected range."""

import re
from pathlib import Path

import pytest

from workshop_utils.lessons.scaling import GPU, RECORDED, recorded, scaling
from workshop_utils.lessons.two_h100 import load_runs
from workshop_utils.planner.scaling import expected_scaling

FOLDER = Path(__file__).parents[2] / "notebooks" / "recorded"
RUNS = load_runs(FOLDER, "*_h200_workshop.json")


@pytest.mark.parametrize("strategy", RECORDED)
def test_what_was_recorded_lies_in_the_expected_range(strategy: str) -> None:
    for model, text in RECORDED[strategy]:
        found = dict(recorded(RUNS, strategy, model, text))
        assert {1, 2} <= set(found)
        expected = {point.gpus: point for point in expected_scaling(strategy, model, text, GPU)}
        for size, (_, speed) in found.items():
            times = speed / found[1][1]
            assert expected[size].low <= times <= expected[size].high * 1.01


@pytest.mark.parametrize("strategy", RECORDED)
def test_the_figure_says_what_is_expected_and_what_was_measured(strategy: str) -> None:
    picture = scaling(strategy, FOLDER)
    words = repr(picture)
    for model, _ in RECORDED[strategy]:
        assert re.search(
            rf"{model}, batch \d+: predicted [\d.]+ with 2, .* with 8; measured [\d.]+ with 2", words
        )
    assert "beyond 2 GPUs assumed" in words
    assert "H200" in words
    assert picture._repr_png_().startswith(b"\x89PNG")
