"""The explorer's numbers: the peak of every device by kind, and a token's time by parts."""

import re
from collections.abc import Sequence
from html import escape

from workshop_utils.memory.term import Kind
from workshop_utils.parallel.big_model.advice import milliseconds
from workshop_utils.units import format_gib
from workshop_utils.widgets.device_columns_view import mark
from workshop_utils.widgets.device_map_explorer_result import Column, Explored
from workshop_utils.widgets.style import KIND_WORDS, KINDS, box_html
from workshop_utils.widgets.terms_view import CERTAINTY
from workshop_utils.widgets.words import linked

COMMAND = re.compile("`([^`]+)`")
SHORT: dict[Kind, str] = {**KIND_WORDS, "process": "process"}


def peaks_html(explored: Explored) -> str:
    """Return the table that says in numbers what the columns show."""
    columns = explored.columns
    kinds = [kind for kind in KINDS if any(kind in column.sizes for column in columns)]
    heads = "".join(f'<th scope="col" class="number">{SHORT[kind]}</th>' for kind in kinds)
    rows = "".join(row_html(column, kinds) for column in columns)
    return box_html(
        "<h4>Predicted peak of each device in GiB</h4>"
        f'<div class="wide"><table class="numbers"><thead><tr><th scope="col">device</th>{heads}'
        '<th scope="col" class="number">together</th><th scope="col" class="number">free</th>'
        f'<th scope="col">verdict</th></tr></thead><tbody>{rows}</tbody></table></div>'
        '<div class="quiet">Together: what the driver shows for the process. Reserve: what the allocator '
        "holds beyond the peak and gives back before it fails. Host and disk: the weights there.</div>"
    )


def row_html(column: Column, kinds: Sequence[Kind]) -> str:
    """Return the numbers of one device."""
    sizes = ((format_gib(column.sizes[kind]) if kind in column.sizes else "–") for kind in kinds)
    cells = "".join(f'<td class="number">{size}</td>' for size in sizes)
    return (
        f'<tr><th scope="row">{escape(column.device.label)}</th>{cells}'
        f'<td class="number"><b>{format_gib(column.total_bytes) if column.sizes else "–"}</b></td>'
        f'<td class="number">{format_gib(column.device.free_bytes)}</td><td>{mark(column)}</td></tr>'
    )


def tpot_html(explored: Explored, opened: bool) -> str:
    """Return the predicted time of a token, its parts and their sources; ``opened`` unfolds these."""
    tpot, batch = explored.tpot, explored.asked.batch
    rows = "".join(
        f'<tr><th scope="row">{escape(part.name)}</th><td class="number">{milliseconds(part.ms)}</td>'
        f"<td>{CERTAINTY.get(part.certainty, part.certainty)}</td><td>{linked(part.source)}</td></tr>"
        for part in tpot.parts
    )
    if_held = "" if explored.fit.holds else ", if it had the memory"
    # Two digits, and never as 1e+02.
    rate = float(f"{batch * 1000 / tpot.ms:.2g}")
    return box_html(
        f'<p><span class="workshop-calculator-total">{milliseconds(tpot.ms)}</span> a token predicted '
        f"(TPOT){if_held}: {rate:,g} tokens/s{' in all' if batch > 1 else ''}, {tpot.words}.</p>"
        f"<details{' open' if opened else ''}><summary>What takes this time, and where "
        "the numbers come from</summary>"
        f'<table class="numbers"><tbody>{rows}</tbody></table></details>'
    )


def advice_html(sentence: str) -> str:
    """Return the advice of the best-practice helper."""
    words = COMMAND.sub(r"<code>\1</code>", linked(sentence))
    return box_html(f"<h4>What we would do</h4><p>{words}</p>")
