"""``workshop plot``: runs of a benchmark as a figure, from the files that the benchmark writes."""

import json
from pathlib import Path

import pytest

from workshop_utils.cli import main
from workshop_utils.errors import WorkshopError
from workshop_utils.figures.bench_bars import bench_bars, label_of, limit_of
from workshop_utils.measure.measurement import Measurement, Quantity, load_measurements

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
SETTINGS = {
    "model": "llama",
    "strategy": "tensor",
    "ranks": 2,
    "batch": 4,
    "tokens": 1024,
    "without": ["graph"],
}


def run(speed: float, **values: float) -> Measurement:
    found = {name: Quantity(value, "ms") for name, value in values.items()}
    found["tokens_per_s"] = Quantity(speed, "tokens/s")
    return Measurement("a run", found, "workshop bench run", "a GPU", {"torch": "2"}, None, None, SETTINGS)


def test_a_limit_comes_from_the_least_time_of_a_step_or_from_the_share_of_it() -> None:
    assert limit_of(run(100, tpot=10, least_tpot=4)) == 250
    assert limit_of(run(100, roofline_share=0.8)) == 125
    assert limit_of(run(100)) is None


def test_a_run_is_named_by_what_was_varied() -> None:
    assert label_of(run(1)) == "llama, tensor × 2, 4 × 1,024, without graph"


@pytest.mark.parametrize(("speeds", "scale"), [((50, 100), "linear"), ((50, 5000), "log")])
def test_every_run_has_its_mark_and_its_words_inside_the_figure(speeds: tuple[int, int], scale: str) -> None:
    picture = bench_bars([run(speed, roofline_share=0.5) for speed in speeds])
    (axes,) = picture.figure.axes
    measured, limits = axes.lines
    assert list(measured.get_xdata()) == list(speeds)
    assert list(limits.get_xdata()) == [2 * speed for speed in speeds]
    assert axes.get_xscale() == scale
    picture.figure.canvas.draw()
    right = picture.figure.bbox.x1
    assert all(text.get_window_extent().x1 <= right for text in axes.texts)
    assert "50% of its limit" in picture.description


def test_recorded_runs_are_drawn_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "speeds.svg"
    assert main(["plot", str(RECORDED / "two_h200_workshop.json"), "--out", str(out)]) == 0
    assert "llama-3.1-70b" in capsys.readouterr().out
    assert "<svg" in out.read_text()


def test_a_file_of_lines_is_read_like_a_list(tmp_path: Path) -> None:
    rows = json.loads((RECORDED / "two_h200_workshop.json").read_text())[:2]
    lines = tmp_path / "runs.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [one.what for one in load_measurements(lines)] == [row["what"] for row in rows]


def test_bad_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = str(RECORDED / "sums_two_h200.json")
    assert main(["plot", recorded, "--out", str(tmp_path / "speeds.txt")]) == 2
    assert "does not end in .svg, .png, .pdf" in capsys.readouterr().err
    assert main(["plot", recorded, "--out", str(tmp_path / "speeds.svg")]) == 2
    assert "none of these runs has tokens_per_s" in capsys.readouterr().err
    with pytest.raises(WorkshopError, match="cannot read"):
        load_measurements(tmp_path / "none.jsonl")
