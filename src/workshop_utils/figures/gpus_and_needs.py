"""The memory of a site's GPUs as bars, and what a model needs as lines that a bar reaches or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import CARD, COLOURS, INK, workshop_style
from workshop_utils.units import GIB

STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class GpuBar:
    """One type of GPU: its usable bytes, and what stands beside the bar."""

    name: str
    usable_bytes: int
    words: str


def gpus_and_needs_figure(bars: Sequence[GpuBar], needs: Mapping[str, int], title: str) -> Picture:
    """Draw a bar for each GPU and a vertical line for each need, in bytes on one GPU."""
    from matplotlib.figure import Figure

    with workshop_style():
        figure = Figure(figsize=(8.2, 1.6 + 0.36 * len(bars)), layout="constrained")
        axes = figure.subplots()
        for row, bar in enumerate(bars):
            size = bar.usable_bytes / GIB
            axes.barh(row, size, 0.72, color=COLOURS["weights"])
            card = {"facecolor": CARD, "edgecolor": "none", "pad": 1}  # keeps the lines out of the words
            axes.annotate(
                f"{size:.0f}  {bar.words}", (size, row), (5, 0), textcoords="offset points", va="center",
                bbox=card, zorder=3,
            )  # fmt: skip
        for style, (label, size) in zip(STYLES, needs.items(), strict=False):
            axes.axvline(
                size / GIB, color=INK, linewidth=1.3, linestyle=style, label=f"{label}: {size / GIB:.0f}"
            )
        axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        widest = max([bar.usable_bytes for bar in bars] + list(needs.values()))
        axes.set_xlim(0, widest / GIB * 1.35)
        axes.set_xlabel("memory that a program can use on one GPU, GiB")
        axes.set_title(title)
        figure.legend(loc="outside lower center", ncols=len(needs), fontsize=9)
        lines = "; ".join(f"{label} needs {size / GIB:.0f} GiB" for label, size in needs.items())
        said = "; ".join(f"{bar.name} {bar.usable_bytes / GIB:.0f} GiB ({bar.words})" for bar in bars)
        return Picture(figure, f"{title}: {lines}. {said}.")
