"""A recording of the GPUs over time, cut at its marks: one line a GPU for each figure."""

from collections.abc import Sequence
from itertools import pairwise
from math import nan
from textwrap import wrap
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, INK, workshop_style
from workshop_utils.figures.trace_phases import (
    DRAM,
    MEMORY,
    POWER,
    Figure,
    Phase,
    activity_of,
    indexes,
    phases,
    reports,
    step_of,
    where_recorded,
)
from workshop_utils.monitor.trace import Trace

WIDTH = 8.2
NOTE_WIDTH = 110  # characters
NAMES_WIDTH, NAME_LINES = 105, 3  # characters of a name as wide as all panels; more lines are not shown
GAP_STEPS = 2.5  # longer without a sample is a gap, over which no line is drawn
BANDS = ("#eeede6", "#fbfbf9")
NO_GPUS = "This recording has no figures of a GPU: record on a machine that has one."
# Thin broken lines over a thick pale one: where GPUs do the same, both are seen.
FIRST: dict[str, Any] = {"color": COLOURS["masks"], "linestyle": "-", "linewidth": 3.6}
OTHER_COLOURS = (
    INK,
    *(COLOURS[kind] for kind in ("kv_cache", "activations", "reserve", "weights", "process")),
)
OTHER_BREAKS: tuple[Any, ...] = ((0, (4, 1.6)), "-.", ":", "-")
TOP = 105  # percent, so that a line at 100 is not half cut


def trace_figure(trace: Trace) -> Picture:
    """Draw activity, memory bandwidth, memory and power of every GPU; what no GPU reports is left out.

    A trace without GPUs gives one sentence.
    """
    from matplotlib.figure import Figure as Canvas

    gpus = indexes(trace)
    shown = [one for one in (activity_of(trace), DRAM, MEMORY, POWER) if reports(trace.samples, one)]
    if not shown:
        return sentence(NO_GPUS)
    found = phases(trace)
    with workshop_style():
        figure = Canvas(figsize=(WIDTH, 1.7 + 1.12 * len(shown)), layout="constrained")
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, one in zip(panels, shown, strict=True):
            _panel(axes, trace, gpus, one)
            for number, phase in enumerate(found):
                axes.axvspan(phase.began, phase.ended, color=BANDS[number % 2], zorder=0, linewidth=0)
            for phase in found[1:]:
                axes.axvline(phase.began, color="#9aa0a6", linewidth=0.8, zorder=1)
        panels[0].set_xlim(0, trace.seconds or 1)
        _names(panels[0], found, trace.seconds or 1)
        note = where_recorded(trace)
        panels[-1].set_xlabel("\n".join(["seconds", *wrap(note, NOTE_WIDTH)]), fontsize=9)
        figure.suptitle("What the GPUs did", x=0.01, ha="left", fontsize=11, fontweight="bold")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=4, fontsize=9, handlelength=3.5)
        words = "; ".join(f"{phase.name}: {in_words(phase, gpus, shown[0])}" for phase in found)
        what = f"What the GPUs did, median {shown[0].words}, while any of them computes"
        return Picture(figure, f"{what}. {words}. {note}")


def _panel(axes: Any, trace: Trace, gpus: Sequence[int], figure: Figure) -> None:
    """Draw one figure of all GPUs over time."""
    for number, index in enumerate(gpus):
        seconds, values = line_of(trace, index, figure)
        axes.plot(seconds, values, label=f"GPU {index}", zorder=2 + number, **style_of(number))
    axes.set_title(figure.words, fontsize=9.5, fontweight="normal", pad=3)
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    if figure.words.endswith("%"):
        axes.set_ylim(0, TOP)
        axes.set_yticks([0, 50, 100])
    axes.grid(visible=True, axis="y")
    axes.grid(visible=False, axis="x")
    axes.tick_params(labelsize=9)


def style_of(number: int) -> dict[str, Any]:
    """Return how the line of a GPU looks, counted from 0: no two of one machine look the same."""
    if number == 0:
        return FIRST
    breaks = OTHER_BREAKS[(number - 1) % len(OTHER_BREAKS)]
    colour = OTHER_COLOURS[(number - 1) % len(OTHER_COLOURS)]
    return {"color": colour, "linestyle": breaks, "linewidth": 1.4}


def line_of(trace: Trace, index: int, figure: Figure) -> tuple[list[float], list[float]]:
    """Return seconds and values of one GPU's line; a value that is missing, or a gap in time, breaks it."""
    longest = GAP_STEPS * step_of(trace)
    points = [
        (second, nan if value is None else value / figure.unit)
        for second, value in trace.gpu_series(index, figure.name)
    ]
    broken = points[:1]
    for (before, _), point in pairwise(points):
        broken += [(before, nan), point] if point[0] - before > longest else [point]
    return [second for second, _ in broken], [value for _, value in broken]


def _names(axes: Any, found: Sequence[Phase], seconds: float) -> None:
    """Write each phase's number over the topmost panel, and its name where it has room."""
    if len(found) < 2:
        return
    names = [name_lines(phase, seconds) for phase in found]
    lines = max(map(len, names))
    for number, (phase, name) in enumerate(zip(found, names, strict=True), 1):
        text = "\n".join([f"{number}", *name, *[""] * (lines - len(name))])
        axes.annotate(
            text, (phase.began, 1), (3, 16), xycoords=("data", "axes fraction"), textcoords="offset points",
            fontsize=8.5, va="bottom", ha="left", linespacing=1.15, annotation_clip=False,
        )  # fmt: skip


def name_lines(phase: Phase, seconds: float) -> list[str]:
    """Return a phase's name in lines that are no wider than the phase is long; none where it has no room."""
    room = int(NAMES_WIDTH * (phase.ended - phase.began) / seconds)
    lines = wrap(phase.name, room, break_long_words=False) if room > 0 else []
    return lines if len(lines) <= NAME_LINES and all(len(line) <= room for line in lines) else []


def in_words(phase: Phase, gpus: Sequence[int], figure: Figure) -> str:
    """Return a figure of every GPU in one phase: ``GPU 0 85, GPU 1 0``."""
    if not phase.computing:
        return "no GPU computes"
    values = [(index, phase.value(index, figure)) for index in gpus]
    return ", ".join(
        f"GPU {index} not reported" if value is None else f"GPU {index} {value:.0f}"
        for index, value in values
    )


def sentence(text: str) -> Picture:
    """Return a figure that is one sentence."""
    from matplotlib.figure import Figure as Canvas

    with workshop_style():
        figure = Canvas(figsize=(WIDTH, 0.6))
        figure.text(0.02, 0.5, text, va="center")
        return Picture(figure, text)
