"""One look for every figure: colours that colour-blind readers tell apart, a light card in any theme.

Colours: Okabe and Ito, https://jfly.uni-koeln.de/color/. A figure brings its own light background, because an
image in a notebook does not know whether JupyterLab is light or dark.
"""

from collections.abc import Iterator
from contextlib import contextmanager

COLOURS = {
    "weights": "#0072b2",
    "kv_cache": "#e69f00",
    "activations": "#009e73",
    "masks": "#56b4e9",
    "reserve": "#cc79a7",
    "process": "#8c8c8c",
}
INK = "#22262a"
CARD = "#fbfbf9"
RC = {
    "figure.facecolor": CARD, "axes.facecolor": CARD, "savefig.facecolor": CARD, "figure.dpi": 110,
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9aa0a6",
    "axes.grid": True, "axes.grid.axis": "x", "grid.color": "#e3e3df", "axes.axisbelow": True,
    "legend.frameon": False,
}  # fmt: skip


@contextmanager
def workshop_style() -> Iterator[None]:
    """Draw inside this block; other figures of the reader keep their own style."""
    from matplotlib import rc_context

    with rc_context(RC):
        yield
