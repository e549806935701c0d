"""A log's figures beside our estimate of the same run, as HTML."""

import re
from html import escape

from workshop_utils.memory.logs.compare import Comparison
from workshop_utils.memory.logs.comparison_text import amount, heading, remarks
from workshop_utils.memory.logs.rows import Row
from workshop_utils.widgets.style import box_html

# An option of `workshop read-log`, with the value that it takes, and the control that stands for it here.
CONTROLS = {
    "--model": "Model",
    "--tokens": "Tokens",
    "--batch": "Batch size",
    "--dtype": "Weights",
    "--kv-dtype": "KV cache",
    "--tp": "TP size",
    "--pp": "PP size",
    "--gpu": "GPU type",
    "--utilization": "Share of GPU",
    "--vllm-version": "vLLM version",
}
OPTION = re.compile(rf"({'|'.join(CONTROLS)})(?![\w-])(?: [A-Z]+\b)?")


def comparison_html(comparison: Comparison) -> str:
    """Return what ran, a row for each figure, what explains the gaps, and what would make it fit."""
    said = (f"<p>{escape(for_fields(' '.join(text.split())))}</p>" for text in remarks(comparison))
    return box_html(
        f'<div role="status"><h4>{escape(heading(comparison))}</h4></div>',
        table_html(comparison),
        *said,
        advice_html(comparison),
    )


def for_fields(sentence: str) -> str:
    """Return a sentence that names options of the command line for who has fields."""
    return OPTION.sub(lambda found: CONTROLS[found[1]], sentence)


def table_html(comparison: Comparison) -> str:
    """Return predicted, actual and error of every figure; nothing where the log has none."""
    if not comparison.rows:
        return ""
    heads = "".join(
        f'<th scope="col" class="number">{name}</th>' for name in ("predicted", "actual", "error")
    )
    rows = "".join(row_html(row) for row in comparison.rows)
    return f"<table><tr><td></td>{heads}</tr>{rows}</table>"


def row_html(row: Row) -> str:
    """Return one figure; an actual one that is only a lower bound has its sign."""
    bound = "≥ " if row.at_least and row.actual is not None else ""
    error = "" if row.error_percent is None else f"{row.error_percent:+.1f} %"
    cells = (amount(row.predicted, row), bound + amount(row.actual, row), error)
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{escape(row.name)}</th>{numbers}</tr>'


def advice_html(comparison: Comparison) -> str:
    """Return the changes that fit by our estimate, as a list."""
    if not comparison.advice:
        return ""
    items = "".join(
        f"<li><code>{escape(piece.option)} {escape(piece.value)}</code>: {escape(piece.sentence)}</li>"
        for piece in comparison.advice
    )
    several = (
        "Each of these alone would fit, by our estimate" if len(comparison.advice) > 1 else "By our estimate"
    )
    return f"<h4>{several}</h4><ul>{items}</ul>"
