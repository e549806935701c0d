"""Horizontal bars of speeds, alone or in pairs of one GPU and two, with a limit that none can pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, INK, workshop_style

BAR_HEIGHT = 0.72
GROUP_GAP = 0.4
NOTE_WIDTH = 90  # characters
# The axis is so many times as long as the longest bar, so that its words have room.
WIDTH = 1.25
ONE, TWO = COLOURS["weights"], COLOURS["kv_cache"]
UNIT = "tokens/s while decoding"
TWO_LABEL = "two GPUs, tensor parallel"


@dataclass(frozen=True)
class Speed:
    """One row: tokens a second on one GPU, and on two where there is such a run."""

    label: str
    one: float
    two: float | None = None


def speed_bars(
    speeds: Sequence[Speed], *, title: str, note: str, limit: float | None = None, limit_label: str = ""
) -> Picture:
    """Draw a group of bars for each row, from top to bottom; a row without ``two`` has one bar.

    ``limit``: a line at that speed, with ``limit_label``. ``note`` stands small under the axis.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    pairs = any(speed.two is not None for speed in speeds)
    with workshop_style():
        bars = sum(1 if speed.two is None else 2 for speed in speeds)
        figure = Figure(figsize=(8.2, 1.7 + 0.36 * bars + 0.14 * len(speeds)), layout="constrained")
        axes = figure.subplots()
        row, ticks = 0.0, []
        for speed in speeds:
            ticks.append(row + (0.5 if speed.two is not None else 0))
            row = _group(axes, row, speed, limit)
        axes.set_yticks(ticks, [speed.label for speed in speeds])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, max(limit or 0, *(max(s.one, s.two or 0) for s in speeds)) * WIDTH)
        legend: list[Any] = (
            [Patch(color=ONE, label="one GPU"), Patch(color=TWO, label=TWO_LABEL)] if pairs else []
        )
        if limit is not None:
            legend.append(axes.axvline(limit, color=INK, linewidth=1.2, linestyle="--", label=limit_label))
        if legend:
            figure.legend(handles=legend, loc="outside lower center", ncols=3, fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("\n".join([UNIT, *wrap(note, NOTE_WIDTH)]), fontsize=9)
        axes.set_title(title)
        return Picture(figure, f"{title}, {UNIT}: {'; '.join(map(_words, speeds))}. {limit_label} {note}")


def _group(axes: Any, row: float, speed: Speed, limit: float | None) -> float:
    """Draw the bars of one row; return where the next begins."""
    axes.barh(row, speed.one, BAR_HEIGHT, color=ONE)
    share = f"  ({speed.one / limit:.0%})" if limit else ""
    axes.annotate(
        f"{speed.one:.4g}{share}", (speed.one, row), (4, 0), textcoords="offset points", va="center"
    )
    if speed.two is None:
        return row + 1
    axes.barh(row + 1, speed.two, BAR_HEIGHT, color=TWO)
    words = f"{speed.two:.4g}  ({speed.two / speed.one:.2f} ×)"
    axes.annotate(words, (speed.two, row + 1), (4, 0), textcoords="offset points", va="center")
    return row + 2 + GROUP_GAP


def _words(speed: Speed) -> str:
    return f"{speed.label} {speed.one:g}" + (
        f" on one, {speed.two:g} on two" if speed.two is not None else ""
    )
