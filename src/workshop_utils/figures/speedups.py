"""How many times as fast several replicas are as one: predicted, measured here, and recorded elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, INK, workshop_style

BAR_HEIGHT = 0.68
NOTE_WIDTH = 90  # characters
KINDS = {"predicted": COLOURS["process"], "measured": COLOURS["weights"], "recorded": COLOURS["kv_cache"]}


@dataclass(frozen=True, slots=True)
class SpeedUp:
    """One bar; ``kind`` is a key of ``KINDS``."""

    label: str
    kind: str
    times: float


def speedups_figure(speedups: Sequence[SpeedUp], *, title: str, note: str) -> Picture:
    """Draw one bar for each, with a line at 1: there, more replicas gain nothing."""
    from matplotlib.figure import Figure

    with workshop_style():
        figure = Figure(figsize=(8.2, 1.5 + 0.4 * len(speedups)), layout="constrained")
        axes = figure.subplots()
        rows = range(len(speedups))
        axes.barh(
            rows, [one.times for one in speedups], BAR_HEIGHT, color=[KINDS[one.kind] for one in speedups]
        )
        for row, one in zip(rows, speedups, strict=True):
            axes.annotate(
                f"{one.times:.2f} ×", (one.times, row), (4, 0), textcoords="offset points", va="center"
            )
        axes.axvline(1, color=INK, linewidth=0.8)
        axes.set_yticks(rows, [one.label for one in speedups])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("\n".join(["times the speed of one replica", *wrap(note, NOTE_WIDTH)]), fontsize=9)
        axes.set_title(title)
        words = "; ".join(f"{one.label}: {one.times:.2f}" for one in speedups)
        return Picture(figure, f"{title}, in times the speed of one replica. {words}. {note}")
