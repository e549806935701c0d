"""One token on its way through a model: how long each layer worked and waited for its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, INK, workshop_style

WORK, FETCH = COLOURS["weights"], COLOURS["kv_cache"]
SHADES = ("#fbfbf9", "#ebeae4")  # regions alternate
NOTE_WIDTH = 105  # characters
# The axis is so many times as high as the highest bar, so that the regions' names have room.
HEIGHT = 1.22


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the model for one token: its short name, where its weights lie, and its times in ms."""

    name: str
    home: str
    work_ms: float
    fetch_ms: float


def token_path_figure(steps: Sequence[Step], *, title: str, note: str) -> Picture:
    """Draw a bar for each step in the order of a token; a shade and a name show where their weights lie."""
    from matplotlib.figure import Figure

    with workshop_style():
        figure = Figure(figsize=(8.2, 3.4), layout="constrained")
        axes = figure.subplots()
        numbers = range(len(steps))
        axes.bar(numbers, [step.work_ms for step in steps], color=WORK, label="at work")
        axes.bar(
            numbers, [step.fetch_ms for step in steps], bottom=[step.work_ms for step in steps], color=FETCH,
            label="waiting for its weights",
        )  # fmt: skip
        top = HEIGHT * max(step.work_ms + step.fetch_ms for step in steps)
        _shade(axes, steps, top)
        axes.set_xticks(numbers, [step.name for step in steps], fontsize=8)
        for label in axes.get_xticklabels():
            if not label.get_text().isdigit():
                label.set(rotation=90)
        axes.set_xlim(-0.6, len(steps) - 0.4)
        axes.set_ylim(0, top)
        axes.set_ylabel("ms for one token")
        axes.grid(visible=False, axis="x")
        axes.grid(visible=True, axis="y")
        axes.set_title(title)
        axes.set_xlabel("\n".join(["layer", *wrap(note, NOTE_WIDTH)]), fontsize=9)
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
        return Picture(figure, f"{title}: {_words(steps)}. {note}")


def _shade(axes: Any, steps: Sequence[Step], top: float) -> None:
    first = 0
    for number, (home, group) in enumerate(groupby(steps, key=lambda step: step.home)):
        count = len(list(group))
        axes.axvspan(first - 0.5, first + count - 0.5, color=SHADES[number % 2], zorder=0)
        middle = first + (count - 1) / 2
        if count > 1:  # the norm alone would have no room for a name
            axes.text(middle, 0.97 * top, home, ha="center", va="top", fontsize=9, color=INK)
        first += count


def _words(steps: Sequence[Step]) -> str:
    homes = dict.fromkeys(step.home for step in steps)
    sums = {
        home: [
            sum(getattr(step, part) for step in steps if step.home == home)
            for part in ("work_ms", "fetch_ms")
        ]
        for home in homes
    }
    return "; ".join(
        f"{home} {work:.0f} ms at work, {fetch:.0f} ms waiting for weights"
        for home, (work, fetch) in sums.items()
    )
