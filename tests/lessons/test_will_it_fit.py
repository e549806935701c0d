"""The tables of notebook 01."""

from pathlib import Path

from workshop_utils.lessons.table import Table
from workshop_utils.lessons.will_it_fit import (
    gemma_table,
    phases_table,
    predictions_table,
    recorded_cases,
    recordings_note,
    slide_table_view,
)
from workshop_utils.measure.measurement import load_measurements

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
GEMMA = load_measurements(RECORDED / "gemma_3_4b_h200.json")
RUNS = load_measurements(RECORDED / "memory_of_generate.json")
CASES = recorded_cases((*GEMMA, *RUNS))


def test_the_slide_table_has_18_ticks_and_names_the_six_others() -> None:
    cells = {(row[0], column): cell for row in slide_table_view().rows for column, cell in enumerate(row[1:])}
    assert len(cells) == 24
    assert sum(cell.endswith("✓") for cell in cells.values()) == 18
    assert {place: cell for place, cell in cells.items() if not cell.endswith("✓")} == {
        ("12B @ FP16", 0): "31.9; rule 31.8 (-0.1)",
        ("12B @ FP16", 1): "35.0; rule 34.8 (-0.2)",
        ("12B @ FP16", 2): "53.6; rule 52.8 (-0.8)",
        ("12B @ FP16", 3): "128.0; rule 124.8 (-3.2)",
        ("4B @ INT4", 2): "5.3; rule 5.6 (+0.3)",
        ("4B @ INT4", 3): "14.0; rule 15.2 (+1.2)",
    }


def test_gemma_4b_at_128k_is_44_8_on_the_slide_and_2_8_exactly() -> None:
    first = gemma_table(131_072).rows[0]
    assert (first[0], first[4], first[5], first[6]) == ("gemma-3-4b", "44.8", "2.8", "16 ×")


def test_every_recorded_run_is_one_case_with_its_ranks_together() -> None:
    assert sum(case.measured_bytes for case in CASES) == sum(
        run.bytes_of("process") for run in (*GEMMA, *RUNS)
    )
    assert len(CASES) == len(GEMMA) + sum(run.settings["rank"] == 0 for run in RUNS)
    assert len({case.label for case in CASES if case.room_bytes != CASES[0].room_bytes}) > 40


def test_the_estimate_lies_within_ten_percent_and_the_slide_fails_both_ways() -> None:
    ended = [case for case in CASES if not case.out_of_memory]
    assert all(abs(case.estimate_ratio - 1) < 0.1 for case in ended)
    assert min(case.slide_ratio for case in ended) < 0.5
    assert max(case.slide_ratio for case in ended) > 2
    assert all(case.estimate_fits != case.out_of_memory for case in CASES)
    assert [row[0] for row in predictions_table(CASES).rows] == ["the slide's rule", "the estimate"]
    assert predictions_table(CASES).rows[1][1] == f"{len(ended)} of {len(ended)}"


def test_gemma_4b_at_128k_needed_more_than_the_slide_says_and_what_we_say() -> None:
    case = next(case for case in CASES if case.label == "gemma-3-4b, 131,072 tokens")
    assert case.slide_ratio < 0.6
    assert abs(case.estimate_ratio - 1) < 0.01


def test_the_phases_sum_to_their_peaks_and_the_measured_peaks_stand_below() -> None:
    for run in (run for run in RUNS if run.settings["model"] == "gemma-3-4b"):
        for column in (1, 2):
            *terms, predicted, measured = (float(row[column]) for row in phases_table(run).rows)
            assert abs(sum(terms) - predicted) < 0.04
            assert abs(predicted - measured) < 0.02


def test_the_note_names_hardware_and_date() -> None:
    first, second = recordings_note(RUNS, GEMMA).splitlines()
    assert "NVIDIA H100" in first
    assert RUNS[0].date is not None
    assert first.endswith(RUNS[0].date[:10])
    assert second.endswith("date not noted")


def test_a_table_escapes_html_and_an_empty_one_is_its_caption() -> None:
    table = Table(("a", "b"), [("<x>", "1")], "note")
    assert "&lt;x&gt;" in table._repr_html_()
    assert repr(table) == "a    b\n<x>  1\nnote"
    assert repr(Table(("a",), [], "nothing yet")) == "nothing yet"
    assert "<table" not in Table(("a",), [], "nothing yet")._repr_html_()
