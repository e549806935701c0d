"""Which stage of a pipeline works on which micro-batch when: a measured run beside the ideal schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import CARD, COLOURS, INK, workshop_style

BAR_HEIGHT = 0.8
NOTE_WIDTH = 100  # characters
# Micro-batches in turn; each is told apart by its number, too.
MICRO_BATCH_COLOURS = [COLOURS[kind] for kind in ("weights", "kv_cache", "activations", "reserve", "masks")]
NUMBER_COLOURS = ["white", INK, "white", INK, INK]
IDLE = "#dedcd3"
# A narrower bar has no room for its number.
NARROWEST_WITH_NUMBER = 0.035


@dataclass(frozen=True, slots=True)
class Turn:
    """One micro-batch in one stage, both counted from 0; the times are in one unit from the start on."""

    stage: int
    micro_batch: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """Some turns under a title, as ``4 micro-batches, measured``; ``unit`` is that of its times."""

    title: str
    turns: tuple[Turn, ...]
    unit: str

    @property
    def stages(self) -> int:
        return 1 + max(turn.stage for turn in self.turns)

    @property
    def length(self) -> float:
        """From the first turn's begin to the last one's end."""
        return max(turn.ended for turn in self.turns) - min(turn.began for turn in self.turns)

    @property
    def idle_share(self) -> float:
        """The bubble: the share of all stages' time in which a stage had nothing to do."""
        busy = sum(turn.ended - turn.began for turn in self.turns)
        return 1 - busy / (self.stages * self.length) if self.length else 0.0


def timeline_figure(rows: Sequence[Sequence[Schedule]], *, title: str, note: str) -> Picture:
    """Draw schedules in rows and columns; those of a column have one time axis, so that lengths compare."""
    from matplotlib.figure import Figure

    columns = len(rows[0])
    with workshop_style():
        height = 1.1 + sum(0.5 + 0.36 * max(one.stages for one in row) for row in rows)
        figure = Figure(figsize=(8.2, height), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False, sharex="col")
        for row, axes_row in zip(rows, grid, strict=True):
            for schedule, axes in zip(row, axes_row, strict=True):
                _draw(
                    axes,
                    schedule,
                    max(other.length for line in rows for other in line if other.unit == schedule.unit),
                )
        for column in range(columns):
            grid[-1, column].set_xlabel(rows[-1][column].unit, fontsize=9)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel("\n".join(wrap(note, NOTE_WIDTH)), fontsize=9)
        words = "; ".join(
            f"{one.title}: {one.length:.3g} {one.unit}, {one.idle_share:.0%} idle"
            for row in rows
            for one in row
        )
        return Picture(figure, f"{title}. {words}. {note}")


def _draw(axes: Any, schedule: Schedule, longest: float) -> None:
    start = min(turn.began for turn in schedule.turns)
    for stage in range(schedule.stages):
        axes.barh(stage, schedule.length, BAR_HEIGHT, color=IDLE, zorder=1)
    for turn in schedule.turns:
        left, width = turn.began - start, turn.ended - turn.began
        kind = turn.micro_batch % len(MICRO_BATCH_COLOURS)
        axes.barh(
            turn.stage,
            width,
            BAR_HEIGHT,
            left=left,
            color=MICRO_BATCH_COLOURS[kind],
            edgecolor=CARD,
            zorder=2,
        )
        if width > NARROWEST_WITH_NUMBER * longest:
            axes.text(
                left + width / 2, turn.stage, str(turn.micro_batch + 1), ha="center", va="center",
                fontsize=9, fontweight="bold", color=NUMBER_COLOURS[kind], zorder=3,
            )  # fmt: skip
    axes.set_yticks(range(schedule.stages), [f"stage {stage + 1}" for stage in range(schedule.stages)])
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.02)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(
        f"{schedule.title}: {schedule.idle_share:.0%} idle", fontsize=9.5, fontweight="normal", color=INK
    )
