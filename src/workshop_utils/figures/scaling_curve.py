"""How many times as fast several GPUs are as one: the ideal line, the prediction, and what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, workshop_style
from workshop_utils.planner.scaling import Point

NOTE_WIDTH = 95  # characters
LOOKS = (("weights", "o"), ("kv_cache", "s"), ("activations", "D"))


@dataclass(frozen=True, slots=True)
class Curve:
    """One model: predicted points, and (GPUs, times) that were measured."""

    label: str
    predicted: Sequence[Point]
    measured: Sequence[tuple[int, float]]


def scaling_figure(curves: Sequence[Curve], *, title: str, note: str) -> Picture:
    """Draw a dashed line with its range for each prediction and a filled mark for each measurement."""
    from matplotlib.figure import Figure

    with workshop_style():
        figure = Figure(figsize=(8.2, 4.2), layout="constrained")
        axes = figure.subplots()
        sizes = sorted({point.gpus for curve in curves for point in curve.predicted})
        axes.plot(sizes, sizes, color="#9aa0a6", linewidth=1)
        axes.annotate("ideal", (sizes[-1], sizes[-1]), (-6, -2), textcoords="offset points", ha="right")
        for curve, (colour, mark) in zip(curves, LOOKS, strict=False):
            draw(axes, curve, COLOURS[colour], mark)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(sizes, [f"{size} GPU{'s' if size > 1 else ''}" for size in sizes])
        axes.set_yticks(sizes, [f"{size} ×" for size in sizes])
        axes.minorticks_off()
        axes.set_xlim(sizes[0] * 0.92, sizes[-1] * 1.25)
        axes.grid(visible=True, axis="y")
        axes.legend(loc="upper left")
        axes.set_xlabel("\n".join(wrap(note, NOTE_WIDTH)), fontsize=9)
        axes.set_title(title)
        return Picture(figure, f"{title}. {' '.join(map(words, curves))} {note}")


def draw(axes: Any, curve: Curve, colour: str, mark: str) -> None:
    """Draw one model."""
    gpus = [point.gpus for point in curve.predicted]
    axes.fill_between(
        gpus, [point.low for point in curve.predicted], [point.high for point in curve.predicted],
        color=colour, alpha=0.12, linewidth=0,
    )  # fmt: skip
    axes.plot(
        gpus, [point.times for point in curve.predicted], color=colour, linestyle="--", marker=mark,
        markerfacecolor="none", label=f"{curve.label}: predicted",
    )  # fmt: skip
    last = curve.predicted[-1]
    axes.annotate(
        f"{last.times:.1f} ×", (last.gpus, last.times), (7, 0), textcoords="offset points", va="center"
    )
    if curve.measured:
        axes.plot(
            [size for size, _ in curve.measured], [times for _, times in curve.measured], color=colour,
            linestyle="none", marker=mark, markersize=8, label=f"{curve.label}: measured",
        )  # fmt: skip


def words(curve: Curve) -> str:
    """Return a curve as a sentence."""
    predicted = ", ".join(
        f"{point.times:.2f} with {point.gpus}" for point in curve.predicted if point.gpus > 1
    )
    measured = ", ".join(f"{times:.2f} with {size}" for size, times in curve.measured if size > 1)
    return f"{curve.label}: predicted {predicted}; measured {measured or 'nothing yet'}."
