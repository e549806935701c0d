"""Stacked horizontal bars of memory terms: the shape of every memory figure of the workshop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, workshop_style

BAR_HEIGHT = 0.72
# Pairs stand closer together than to the next pair.
PAIR_GAP = 0.4
NOTE_WIDTH = 90  # characters


@dataclass(frozen=True)
class Bar:
    """One bar: its label, and bytes by kind (a key of ``COLOURS``) from left to right."""

    label: str
    bytes_by_kind: Mapping[str, int]

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes_by_kind.values())


@dataclass(frozen=True)
class Unit:
    """The unit of the axis, with its name as the axis shows it."""

    name: str
    bytes: int


GB_DECIMAL = Unit("GB (decimal)", 10**9)
MB_DECIMAL = Unit("MB (decimal)", 10**6)


def stacked_bars(
    bars: Sequence[Bar], kind_labels: Mapping[str, str], unit: Unit, *, title: str, note: str
) -> Picture:
    """Draw ``bars`` from top to bottom, in pairs, with the total at each end.

    ``kind_labels``: legend text for each kind. ``note`` stands small under the axis: source and hardware.
    """
    from matplotlib.figure import Figure

    with workshop_style():
        figure = Figure(figsize=(8.2, 2.1 + 0.4 * len(bars)), layout="constrained")
        axes = figure.subplots()
        rows = [row + PAIR_GAP * (row // 2) for row in range(len(bars))]
        for kind, label in kind_labels.items():
            lefts = [_start(bar, kind, kind_labels) / unit.bytes for bar in bars]
            widths = [bar.bytes_by_kind.get(kind, 0) / unit.bytes for bar in bars]
            axes.barh(rows, widths, BAR_HEIGHT, left=lefts, color=COLOURS[kind], label=label)
        for row, bar in zip(rows, bars, strict=True):
            total = bar.total_bytes / unit.bytes
            axes.annotate(f"{total:.1f}", (total, row), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(rows, [bar.label for bar in bars])
        axes.invert_yaxis()
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("\n".join([unit.name, *wrap(note, NOTE_WIDTH)]), fontsize=9)
        axes.set_title(title)
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
        ends = "; ".join(f"{bar.label} {bar.total_bytes / unit.bytes:.1f}" for bar in bars)
        return Picture(figure, f"{title}, in {unit.name}: {ends}. {note}")


def _start(bar: Bar, kind: str, kind_labels: Mapping[str, str]) -> int:
    """Return where this kind begins: after all kinds that the legend names before it."""
    kinds = list(kind_labels)
    return sum(bar.bytes_by_kind.get(earlier, 0) for earlier in kinds[: kinds.index(kind)])
