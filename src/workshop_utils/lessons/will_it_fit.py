"""The tables of notebook 01: the slide's rule, exact Gemma 3, and what an H200 needed."""

from collections.abc import Sequence
from itertools import groupby

from workshop_utils.figures.slide_and_measured import LABELS, measured_parts
from workshop_utils.lessons.table import Table
from workshop_utils.measure.measurement import Measurement
from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.slide_rule import SlideCell, slide_table
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.units import GB


def slide_table_view() -> Table:
    """Return the slide's 24 totals; where the rule gives another total, that one and the difference."""
    cells = slide_table()
    rows = [
        (label, *(slide_cell(cell) for cell in row))
        for label, row in groupby(cells, key=lambda cell: cell.label)
    ]
    columns = dict.fromkeys(f"{cell.tokens // 1024}K tokens" for cell in cells)
    same = sum(cell.difference_gb == 0 for cell in cells)
    odd = [cell for cell in cells if cell.printed_total_gb != cell.published.total_gb]
    rounded = "".join(
        f" {cell.label} prints {cell.printed_total_gb:g} for the sum {cell.published.weights_gb:g} + "
        f"{cell.published.kv_cache_gb:g}."
        for cell in odd
    )
    caption = (
        f"GB (decimal), the slide's figure first. ✓: the rule gives the same, in {same} of {len(cells)} "
        f"cells.{rounded}"
    )
    return Table(("model", *columns), rows, caption)


def slide_cell(cell: SlideCell) -> str:
    printed = f"{cell.printed_total_gb:.1f}"
    if cell.difference_gb == 0:
        return f"{printed} ✓"
    return f"{printed}; rule {cell.rule.total_gb:.1f} ({cell.difference_gb:+.1f})"


def gemma_table(tokens: int) -> Table:
    """Return the three Gemma 3 models: exact weights and cache in bfloat16 beside the slide's."""
    rows = []
    for cell in slide_table():
        if cell.tokens != tokens or "FP16" not in cell.label:
            continue
        shape = find_architecture(cell.model)
        exact = estimate(shape, tokens=tokens)
        cache = exact.kv_cache_bytes / GB
        rows.append(
            (
                cell.model,
                f"{count_parameters(shape).total:,}",
                f"{cell.published.weights_gb:.1f}",
                f"{exact.weights_bytes / GB:.1f}",
                f"{cell.published.kv_cache_gb:.1f}",
                f"{cache:.1f}",
                f"{cell.published.kv_cache_gb / cache:.0f} ×",
            )
        )
    headers = (
        "model", "parameters", "weights: slide", "weights: exact", "KV: slide", "KV: exact", "slide / exact",
    )  # fmt: skip
    return Table(headers, rows, f"GB (decimal), 2 bytes a value, {tokens:,} tokens, image tower included.")


def recorded_table(runs: Sequence[Measurement]) -> Table:
    """Return each recorded run split into its parts, in GB; the parts sum to what NVML showed."""
    rows = []
    for run in runs:
        parts = measured_parts(run)
        sizes = [f"{parts[kind] / GB:.2f}" for kind in LABELS]
        rows.append((f"{run.settings['tokens']:,} tokens", *sizes, f"{sum(parts.values()) / GB:.1f}"))
    return Table(
        ("prompt + answer", *LABELS.values(), "in all"),
        rows,
        f"GB (decimal), text model only, random weights; {runs[0].label}",
    )
