"""The slide's 24 cells: 18 to the digit, six others by name."""

from workshop_utils.memory.slide_rule import slide_rule, slide_table
from workshop_utils.models.catalogue import catalogue_names

# The slide that prints totals only, row by row: 4K, 8K, 32K and 128K tokens, in GB.
PRINTED = {
    "4B @ FP16": [11, 12.4, 20.8, 54.4],
    "12B @ FP16": [31.9, 35, 53.6, 128],
    "27B @ FP16": [70.3, 75.8, 108.8, 241],
    "4B @ INT4": [2.8, 3.2, 5.3, 14],
    "12B @ INT4": [8, 8.8, 13.6, 32.8],
    "27B @ INT4": [17.6, 19, 27.4, 61],
}


def test_the_table_is_the_published_one() -> None:
    cells = slide_table()
    assert len(cells) == 24
    printed = {label: [c.printed_total_gb for c in cells if c.label == label] for label in PRINTED}
    assert printed == PRINTED
    assert {cell.model for cell in cells} <= set(catalogue_names())


def test_printed_totals_are_the_sums_but_for_one_rounded_to_a_whole_gb() -> None:
    odd = [cell for cell in slide_table() if cell.printed_total_gb != cell.published.total_gb]
    assert [(cell.label, cell.tokens, cell.published.total_gb) for cell in odd] == [
        ("27B @ FP16", 131072, 240.8)
    ]
    assert round(odd[0].published.total_gb) == odd[0].printed_total_gb


def test_the_rule_reproduces_18_cells_and_misses_six_by_these_differences() -> None:
    missed = {(cell.label, cell.tokens): cell.difference_gb for cell in slide_table() if cell.difference_gb}
    assert missed == {
        ("12B @ FP16", 4096): -0.1,
        ("12B @ FP16", 8192): -0.2,
        ("12B @ FP16", 32768): -0.8,
        ("12B @ FP16", 131072): -3.2,
        ("4B @ INT4", 32768): 0.3,
        ("4B @ INT4", 131072): 1.2,
    }
    reproduced = [cell for cell in slide_table() if not cell.difference_gb]
    assert len(reproduced) == 18
    assert all(cell.rule == cell.published for cell in reproduced)


def test_the_rule_rounds_the_4k_cache_before_it_multiplies() -> None:
    # 2 × 62 × 5376 × 2 × 4096 / 10^9 = 5.461 becomes 5.5; unrounded, 32 of them would be 174.8.
    rule = slide_rule(parameters=27e9, layers=62, embedding_width=5376, bytes_per_value=2, tokens=131072)
    assert (rule.weights_gb, rule.kv_cache_gb, rule.total_gb) == (64.8, 176.0, 240.8)
