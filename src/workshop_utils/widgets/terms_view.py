"""The terms of one GPU as rows that open to formula, source and certainty."""

from html import escape

from workshop_utils.memory.estimate import Estimate
from workshop_utils.memory.term import Term
from workshop_utils.units import format_gb
from workshop_utils.widgets.style import KIND_WORDS, box_html, chip_html
from workshop_utils.widgets.words import linked

CERTAINTY = {
    "exact": "exact: follows from the model's shape",
    "measured": "measured on a machine",
    "assumed": "assumed: may differ on yours",
}


def terms_html(result: Estimate, opened: bool) -> str:
    """Return every term of the fullest GPU, and their sum; ``opened`` unfolds all rows."""
    rank = result.fullest
    largest = max(term.bytes for term in rank.terms)
    where = f" of GPU {rank.rank}, the fullest" if len(result.per_gpu) > 1 else ""
    rows = "".join(term_html(term, largest, opened) for term in rank.terms)
    # Where an engine does not tell its phases apart, it plans its share and has no moment that is fullest.
    peak = "" if rank.prefill_peak_bytes is None else f", of which tensors {format_gb(rank.peak_bytes)}"
    return box_html(
        f"<h4>The terms{where}</h4>{rows}<p>Sum <b>{format_gb(rank.process_bytes)}</b>{peak}.</p>"
    )


def term_html(term: Term, largest: int, opened: bool) -> str:
    """Return one row; ``largest`` bytes make a full bar."""
    share = term.bytes / largest if largest else 0
    bar = f'<span class="kind-{term.kind}" style="width:{share:.2%}"></span>'
    facts = {
        "Formula": escape(term.formula),
        "Source": linked(term.source),
        "Certainty": CERTAINTY[term.certainty],
        "Kind": KIND_WORDS[term.kind],
    }
    listed = "".join(f"<dt>{name}</dt><dd>{fact}</dd>" for name, fact in facts.items())
    return (
        f'<details class="term"{" open" if opened else ""}><summary>{chip_html(term.kind)}'
        f'<span>{escape(term.name)}</span><span class="thin" aria-hidden="true">{bar}</span>'
        f'<span class="number">{format_gb(term.bytes)}</span>'
        f'<span class="quiet">{term.certainty}</span></summary><dl>{listed}</dl></details>'
    )
