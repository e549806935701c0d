"""The two ways to cut a matrix product over two ranks, drawn as blocks."""

from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, INK, workshop_style

RANKS = (COLOURS["weights"], COLOURS["kv_cache"])
SHARED = "#c9ccd1"
INPUTS, OUTPUTS, TOKENS = 3.2, 2.4, 1.2  # width and height of the blocks, in the figure's own unit


def matrix_cuts_figure() -> Picture:
    """Draw x, Wᵀ and the result of a column cut above those of a row cut."""
    from matplotlib.figure import Figure

    with workshop_style():
        figure = Figure(figsize=(8.2, 4.7), layout="constrained")
        upper, lower = figure.subplots(2, 1)
        _cut(
            upper, "Column cut: every rank gets all of x and makes some outputs. Nothing is sent.", rows=False
        )
        _cut(
            lower,
            "Row cut: every rank has some inputs and makes a part of every output. The parts are summed.",
            rows=True,
        )
        for colour, label in ((RANKS[0], "on rank 0"), (RANKS[1], "on rank 1"), (SHARED, "on both")):
            upper.plot([], [], "s", markersize=9, color=colour, label=label)
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
        words = (
            "Two cuts of x times W transposed. Column cut: x on both ranks, the columns of W transposed and "
            "of the result are halved. Row cut: x is halved along its inputs and W transposed along its "
            "rows; two full results are summed, one all-reduce."
        )
        return Picture(figure, words)


def _cut(axes: Any, title: str, *, rows: bool) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_aspect("equal")
    axes.axis("off")
    if rows:
        _block(axes, 0, 0, INPUTS, TOKENS, "x", across=RANKS)
        _sign(axes, INPUTS + 0.4, "×")
        _block(axes, INPUTS + 0.8, 0, OUTPUTS, INPUTS, "Wᵀ", down=RANKS)
        _sign(axes, INPUTS + OUTPUTS + 1.2, "=")
        left = INPUTS + OUTPUTS + 1.6
        _block(axes, left, 0, OUTPUTS, TOKENS, "part", across=RANKS[:1])
        _sign(axes, left + OUTPUTS + 0.4, "+")
        _block(axes, left + OUTPUTS + 0.8, 0, OUTPUTS, TOKENS, "part", across=RANKS[1:])
        _sign(axes, left + 2 * OUTPUTS + 1.2, "=")
        _block(axes, left + 2 * OUTPUTS + 1.6, 0, OUTPUTS, TOKENS, "result", across=(SHARED,))
        axes.text(left + OUTPUTS + 0.4, -1.15, "all-reduce", ha="center", fontsize=9, color=INK)
    else:
        _block(axes, 0, 0, INPUTS, TOKENS, "x", across=(SHARED,))
        _sign(axes, INPUTS + 0.4, "×")
        _block(axes, INPUTS + 0.8, 0, OUTPUTS, INPUTS, "Wᵀ", across=RANKS)
        _sign(axes, INPUTS + OUTPUTS + 1.2, "=")
        _block(axes, INPUTS + OUTPUTS + 1.6, 0, OUTPUTS, TOKENS, "result", across=RANKS)
    axes.set_xlim(-0.1, INPUTS + 4 * OUTPUTS + 3.4)
    axes.set_ylim(-INPUTS / 2 - 0.1, INPUTS / 2 + 0.1)


def _block(  # noqa: PLR0913, PLR0917 - where it is, how large, what it is called
    axes: Any, x: float, y: float, width: float, height: float, label: str, *,
    across: tuple[str, ...] = (), down: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Draw one matrix, its middle at height ``y``, its parts beside or below one another."""
    from matplotlib.patches import Rectangle

    parts = across or down
    for number, colour in enumerate(parts):
        if across:
            corner, size = (x + number * width / len(parts), y - height / 2), (width / len(parts), height)
        else:
            top = y + height / 2 - (number + 1) * height / len(parts)
            corner, size = (x, top), (width, height / len(parts))
        axes.add_patch(Rectangle(corner, *size, facecolor=colour, edgecolor="white", linewidth=1.5))
    axes.text(x + width / 2, y, label, ha="center", va="center", fontsize=11, weight="bold", color=INK,
              bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 2})  # fmt: skip


def _sign(axes: Any, x: float, sign: str) -> None:
    axes.text(x, 0, sign, ha="center", va="center", fontsize=14, color=INK)
