"""A roofline: what a device allows at each arithmetic intensity, and where passes through a model lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, INK, workshop_style
from workshop_utils.units import format_share

GIGA, TERA = 1e9, 1e12
# From here on FLOP/s are counted in TFLOP/s: a GPU's.
LARGE_FLOPS = 10 * TERA
MARKS = (("o", COLOURS["weights"]), ("D", COLOURS["kv_cache"]), ("s", COLOURS["activations"]))
# The axes reach this many times beyond the outermost mark and the corner of the roof.
ROOM = 4.0


@dataclass(frozen=True)
class Mark:
    """One pass: FLOP for each byte read, and the FLOP/s that were reached."""

    label: str
    intensity: float
    flops_per_second: float


def roofline_figure(
    marks: Sequence[Mark], bytes_per_second: float, flops_per_second: float, note: str
) -> Picture:
    """Draw up to three ``marks`` under the roof, both axes logarithmic; ``note`` stands under the axis."""
    from matplotlib.figure import Figure

    corner = flops_per_second / bytes_per_second
    left = min(corner, *(mark.intensity for mark in marks)) / ROOM
    right = max(corner, *(mark.intensity for mark in marks)) * ROOM
    size, unit = (TERA, "TFLOP/s") if flops_per_second >= LARGE_FLOPS else (GIGA, "GFLOP/s")
    with workshop_style():
        figure = Figure(figsize=(8.2, 4.6), layout="constrained")
        axes = figure.subplots()
        _roof(axes, (left, corner, right), bytes_per_second, flops_per_second / size, unit)
        words = []
        for mark, look in zip(marks, MARKS, strict=False):
            top = min(flops_per_second, mark.intensity * bytes_per_second) / size
            words.append(f"{mark.label}: {mark.flops_per_second / size:,.3g} {unit} "
                         f"({format_share(mark.flops_per_second / size / top)})")  # fmt: skip
            _mark(axes, mark.intensity, (mark.flops_per_second / size, top), look, words[-1])
        lowest = min(left * bytes_per_second, *(mark.flops_per_second for mark in marks)) / size
        _axes(axes, (lowest / 3, flops_per_second / size * ROOM), unit)
        axes.set_xlabel(f"arithmetic intensity, FLOP for each byte read\n{note}", fontsize=9)
        axes.set_title("Roofline: decode lies under the slope, prefill under the flat roof")
        roof = f"{bytes_per_second / GIGA:,.0f} GB/s and {flops_per_second / size:,.0f} {unit}"
        return Picture(figure, f"Roofline of {roof}: {'; '.join(words)}. {note}")


def _mark(axes: Any, x: float, ys: tuple[float, float], look: tuple[str, str], words: str) -> None:
    """Draw one pass, a dotted line up to the roof, and its words below it or on its right."""
    sign, colour = look
    axes.plot([x, x], ys, ":", color=colour, linewidth=1.5, zorder=2)
    axes.plot(x, ys[0], sign, color=colour, markersize=9, markeredgecolor="white", zorder=3)
    far_right = x > (axes.get_xlim()[0] * axes.get_xlim()[1]) ** 0.5 * ROOM
    axes.annotate(
        words, (x, ys[0]), (50, -9) if far_right else (9, -4), textcoords="offset points", va="top",
        ha="right" if far_right else "left", fontsize=9,
    )  # fmt: skip


def _axes(axes: Any, ys: tuple[float, float], unit: str) -> None:
    axes.set_ylim(*ys)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.minorticks_off()
    axes.grid(visible=True, axis="both")
    axes.set_ylabel(unit)


def _roof(axes: Any, xs: tuple[float, float, float], bytes_per_second: float, peak: float, unit: str) -> None:
    left, corner, right = xs
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    slope = peak / corner
    axes.plot([left, corner, right], [left * slope, peak, peak], color=INK, linewidth=1.6)
    axes.annotate(
        f"matrix product: {peak:,.0f} {unit}", (right, peak), (-4, 5), textcoords="offset points",
        ha="right", va="bottom", fontsize=9,
    )  # fmt: skip
    middle = (left * corner) ** 0.5
    axes.annotate(
        f"copy: {bytes_per_second / GIGA:,.0f} GB/s", (middle, middle * slope), (-6, 5),
        textcoords="offset points", ha="right", va="bottom", fontsize=9,
    )  # fmt: skip
