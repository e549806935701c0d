"""The tables of notebook 01."""

from pathlib import Path

from workshop_utils.lessons.table import Table
from workshop_utils.lessons.will_it_fit import gemma_table, recorded_table, slide_table_view
from workshop_utils.measure.measurement import load_measurements

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded" / "gemma_3_4b_h200.json"


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


def test_recorded_parts_sum_to_what_nvml_showed() -> None:
    runs = load_measurements(RECORDED)
    for run, row in zip(runs, recorded_table(runs).rows, strict=True):
        assert row[-1] == f"{run.bytes_of('process') / 1e9:.1f}"
        assert abs(sum(float(cell) for cell in row[1:-1]) - float(row[-1])) < 0.1


def test_a_table_escapes_html_and_an_empty_one_is_its_caption() -> None:
    table = Table(("a", "b"), [("<x>", "1")], "note")
    assert "&lt;x&gt;" in table._repr_html_()
    assert repr(table) == "a    b\n<x>  1\nnote"
    assert repr(Table(("a",), [], "nothing yet")) == "nothing yet"
    assert "<table" not in Table(("a",), [], "nothing yet")._repr_html_()
