"""A recording of the GPUs in figures: one row for each GPU in each phase."""

from collections.abc import Sequence

from workshop_utils.figures.trace_figure import NO_GPUS
from workshop_utils.figures.trace_phases import (
    COMPUTES_PERCENT,
    FIGURES,
    MEMORY,
    NVLINK,
    Figure,
    Phase,
    activity_of,
    indexes,
    phases,
    reports,
    where_recorded,
)
from workshop_utils.lessons.table import Table
from workshop_utils.monitor.trace import Trace

NOTHING = "–"


def trace_table(trace: Trace) -> Table:
    """Return what each GPU did in each phase while any of them computed; without GPUs one sentence."""
    found, gpus = phases(trace), indexes(trace)
    shown = [figure for figure in FIGURES if reports(trace.samples, figure)]
    if not shown:
        return Table((), (), NO_GPUS)
    rows: list[Sequence[str]] = []
    for number, phase in enumerate(found, 1):
        name = f"{number} {phase.name}" if len(found) > 1 else phase.name
        rows += rows_of(phase, name, gpus, shown)
    headers = ["phase", "GPU", "computes for, s", *(in_header(figure) for figure in shown)]
    return Table(headers, rows, caption_of(trace, shown, rows), text_columns=2)


def rows_of(phase: Phase, name: str, gpus: Sequence[int], shown: Sequence[Figure]) -> list[Sequence[str]]:
    """Return a row for each GPU; the first one names the phase and says how long it computed."""
    heads = [(name, f"{phase.computing_seconds:.0f}"), *[("", "")] * (len(gpus) - 1)]
    return [
        (head, f"{index}", seconds, *(in_figures(phase.value(index, figure), figure) for figure in shown))
        for index, (head, seconds) in zip(gpus, heads, strict=True)
    ]


def in_header(figure: Figure) -> str:
    return f"{figure.words}, at most" if figure is MEMORY else figure.words


def in_figures(value: float | None, figure: Figure) -> str:
    """Return a value as the table shows it."""
    if value is None:
        return NOTHING
    return f"{value:.2f}" if figure is NVLINK else f"{value:.0f}"


def caption_of(trace: Trace, shown: Sequence[Figure], rows: Sequence[Sequence[str]]) -> str:
    """Return which samples count, what no GPU reports, and where the trace was recorded."""
    activity = activity_of(trace).words.partition(",")[0]
    missing = [figure.words.partition(",")[0] for figure in FIGURES if figure not in shown]
    place = where_recorded(trace)
    parts = [
        f"Medians of the samples in which a GPU computes: the {activity} of at least one is "
        f"{COMPUTES_PERCENT:g} % or more. Loading, and the first and last moments, are among them.",
        f"{NOTHING}: no figure to average." if any(NOTHING in row for row in rows) else "",
        f"No GPU reports: {', '.join(missing)}." if missing else "",
        f"{place[0].upper()}{place[1:]}.",
    ]
    return " ".join(part for part in parts if part)
