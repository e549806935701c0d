"""An estimate as HTML that follows JupyterLab's theme: the total, a bar of terms, the terms, the GPUs."""

from html import escape

from workshop_utils.figures.style import COLOURS
from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.estimate import Estimate
from workshop_utils.memory.term import Term
from workshop_utils.units import format_gb, format_gib

STYLE = """<style>
.workshop-calculator { color: var(--jp-ui-font-color1, #222); font-size: 13px; line-height: 1.45; }
.workshop-calculator-total { font-size: 26px; font-weight: 600; }
.workshop-calculator small, .workshop-calculator .quiet { color: var(--jp-ui-font-color2, #666); }
.workshop-calculator-bar { display: flex; height: 26px; margin: 6px 0 10px; }
.workshop-calculator-bar, .workshop-calculator-gpu .track { border-radius: 4px; overflow: hidden; }
.workshop-calculator-bar span { min-width: 1px; border-right: 1px solid var(--jp-layout-color1, #fff); }
.workshop-calculator table { border-collapse: collapse; width: 100%; }
.workshop-calculator td { padding: 3px 12px 3px 0; text-align: left; vertical-align: top; }
.workshop-calculator td.number { text-align: right; white-space: nowrap; }
.workshop-calculator td div { padding-left: 16px; font-size: 12px; line-height: 1.3; }
.workshop-calculator td.number, .words { font-variant-numeric: tabular-nums; }
.workshop-calculator i { display: inline-block; width: 10px; height: 10px; margin-right: 6px; }
.workshop-calculator-gpus { margin-top: 12px; }
.workshop-calculator-gpu { display: flex; gap: 8px; align-items: center; padding: 1px 0; }
.workshop-calculator-gpu b { flex: 0 0 92px; font-weight: 500; }
.workshop-calculator-gpu .track { flex: 1; height: 8px; background: var(--jp-layout-color3, #ddd); }
.workshop-calculator-gpu .track span { display: block; height: 100%; }
.workshop-calculator-gpu .words { flex: 0 0 146px; }
.workshop-calculator-error { border-left: 4px solid #d55e00; padding: 6px 10px; }
</style>"""
# Blue and vermilion of Okabe and Ito; the words say the same, so nothing depends on the colour alone.
FITS, TOO_SMALL = "#0072b2", "#d55e00"
CERTAINTY = {
    "exact": "exact: follows from the model's shape",
    "measured": "measured on a machine",
    "assumed": "assumed: may differ on yours",
}


def estimate_html(result: Estimate) -> str:
    """Return total, bar and terms of one estimate on one GPU."""
    terms = result.per_gpu[0].terms
    notes = "".join(f"<div><small>{escape(note)}</small></div>" for note in result.notes)
    return "".join(
        [
            STYLE,
            '<div class="workshop-calculator">',
            total_html(result),
            bar_html(terms),
            remark_html(result),
            notes,
            terms_html(terms),
            "</div>",
        ]
    )


def error_html(sentence: str) -> str:
    """Return the sentence in the place where the estimate stood."""
    return (
        f'{STYLE}<div class="workshop-calculator"><div class="workshop-calculator-error" role="alert">'
        f"{escape(sentence)}</div></div>"
    )


def total_html(result: Estimate) -> str:
    """Return the total in decimal GB and, for comparison with what a driver reports, in GiB."""
    word = "at least " if result.not_counted else ""
    return (
        f'<div aria-live="polite">{word}<span class="workshop-calculator-total">'
        f"{format_gb(result.process_bytes)}</span> on one GPU "
        f'<span class="quiet">(= {format_gib(result.process_bytes)})</span></div>'
    )


def bar_html(terms: tuple[Term, ...]) -> str:
    """Return one bar, a segment for each term; the pointer shows its formula."""
    segments = "".join(
        f'<span style="flex:{term.bytes} 0 0;background:{COLOURS[term.kind]}" title="{tooltip(term)}"></span>'
        for term in terms
    )
    return (
        f'<div class="workshop-calculator-bar" role="img" aria-label="Terms of the estimate">{segments}</div>'
    )


def tooltip(term: Term) -> str:
    """Return all that is known of a term, for a title attribute."""
    lines = (f"{term.name}: {format_gb(term.bytes)}", term.formula, f"source: {term.source}")
    return escape("\n".join((*lines, CERTAINTY[term.certainty])))


def terms_html(terms: tuple[Term, ...]) -> str:
    """Return one row a term: name over formula, size, certainty; the sources folded out below."""
    rows = "".join(term_row(term) for term in terms)
    sources = "".join(f"<li>{escape(term.name)}: {escape(term.source)}</li>" for term in terms)
    return f"<table>{rows}</table><details><summary>Sources</summary><ul>{sources}</ul></details>"


def term_row(term: Term) -> str:
    chip = f'<i style="background:{COLOURS[term.kind]}"></i>'
    return (
        f'<tr title="{tooltip(term)}">'
        f'<td>{chip}{escape(term.name)}<div class="quiet">{escape(term.formula)}</div></td>'
        f'<td class="number">{format_gb(term.bytes)}</td><td class="quiet">{term.certainty}</td></tr>'
    )


def remark_html(result: Estimate) -> str:
    """Say what makes the total a lower bound; nothing once everything is counted."""
    if not result.not_counted:
        return ""
    missing = escape("; ".join(result.not_counted))
    return f"<p><strong>A lower bound.</strong> Not counted yet: {missing}.</p>"


def gpus_html(result: Estimate, gpus: tuple[Gpu, ...]) -> str:
    """Return every GPU type with how full it would be; a lower bound can only rule out for certain."""
    rows = "".join(gpu_html(result, gpu) for gpu in sorted(gpus, key=lambda gpu: -gpu.usable_bytes))
    return f'<div class="workshop-calculator workshop-calculator-gpus">Usable memory of one GPU{rows}</div>'


def gpu_html(result: Estimate, gpu: Gpu) -> str:
    share = result.process_bytes / gpu.usable_bytes
    fits = share <= 1
    verdict = "may hold it" if fits and result.not_counted else "holds it" if fits else "too small"
    return (
        f'<div class="workshop-calculator-gpu" title="{escape(f"{gpu.full_name}: {gpu.usable_source}")}">'
        f'<b>{escape(gpu.name)}</b><span class="track"><span style="width:{min(share, 1):.0%};'
        f'background:{FITS if fits else TOO_SMALL}"></span></span>'
        f'<span class="words">{format_gib(gpu.usable_bytes)} {verdict}</span></div>'
    )
