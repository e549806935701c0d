"""Two predictions of every recorded case, the estimate and the slide's rule, against what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, INK, workshop_style
from workshop_utils.units import GB

NEAR = 1.1  # the workshop's aim: within 10 %
RATIOS = (0.25, 0.5, 1, 2)
SIZES_GB = (5, 10, 20, 50, 100, 200, 400)
# A prediction's ratio, mark, colour and name.
PREDICTIONS = (
    ("slide_ratio", "o", COLOURS["kv_cache"], "the slide's rule"),
    ("estimate_ratio", "D", COLOURS["weights"], "the estimate"),
)


@dataclass(frozen=True)
class RecordedCase:
    """One recorded run, in bytes of all its GPUs together.

    ``measured_bytes``: what NVML showed for the processes; where ``out_of_memory``, what they held when they
    failed, so the run would have needed more. ``room_bytes``: what programs may use on those GPUs.
    ``estimate_fits`` and ``slide_fits``: whether each predicts that the run ends there.
    """

    label: str
    measured_bytes: int
    estimate_bytes: int
    slide_bytes: int
    room_bytes: int
    out_of_memory: bool
    estimate_fits: bool

    @property
    def slide_fits(self) -> bool:
        return self.slide_bytes <= self.room_bytes

    @property
    def estimate_ratio(self) -> float:
        return self.estimate_bytes / self.measured_bytes

    @property
    def slide_ratio(self) -> float:
        return self.slide_bytes / self.measured_bytes


def recorded_cases_figure(cases: Sequence[RecordedCase], note: str, *, named: Sequence[str] = ()) -> Picture:
    """Draw predicted / measured over measured, both axes logarithmic, one mark for each prediction.

    ``note`` stands under the axis: hardware, versions and date. The slide's marks that lie
    furthest up and down carry the case's name, and so do those of ``named``, by label.
    """
    from matplotlib.figure import Figure

    with workshop_style():
        figure = Figure(figsize=(8.2, 5.0), layout="constrained")
        axes = figure.subplots()
        axes.axhspan(1 / NEAR, NEAR, color="#e3e3df", zorder=0, label="within 10 %")
        for prediction in PREDICTIONS:
            _marks(axes, cases, prediction)
        ends = {end(cases, key=lambda case: case.slide_ratio).label for end in (min, max)}
        for case in (one for one in cases if one.label in {*ends, *named}):
            place = (case.measured_bytes / GB, case.slide_ratio)
            axes.annotate(case.label, place, (7, 0), textcoords="offset points", fontsize=8, va="center")
        _logarithmic(axes)
        axes.set_xlabel(
            f"measured memory of the process, GB (decimal), all GPUs of a run\n{note}", fontsize=9
        )
        axes.set_ylabel("predicted / measured")
        axes.set_title("Every recorded run: above 1 the prediction is too high, below 1 too low")
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
        return Picture(figure, f"Predicted / measured, {len(cases)} recorded runs: {_ranges(cases)}. {note}")


def _marks(axes: Any, cases: Sequence[RecordedCase], prediction: tuple[str, str, str, str]) -> None:
    """Draw one prediction of all cases; a run that ended for want of memory is hollow, and needed more."""
    ratio, mark, colour, name = prediction
    for failed in (False, True):
        some = [case for case in cases if case.out_of_memory == failed]
        axes.plot(
            [case.measured_bytes / GB for case in some],
            [getattr(case, ratio) for case in some],
            mark,
            markersize=8 if failed else 5.5,
            markerfacecolor="none" if failed else colour,
            markeredgecolor=colour if failed else "white",
            markeredgewidth=1.6 if failed else 0.5,
            label=f"{name}; ran out of memory" if failed else name,
        )


def _logarithmic(axes: Any) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(SIZES_GB, [f"{size}" for size in SIZES_GB])
    axes.set_yticks(RATIOS, [f"{ratio:g} ×" for ratio in RATIOS])
    axes.minorticks_off()
    axes.grid(visible=True, axis="both")
    axes.axhline(1, color=INK, linewidth=0.8, zorder=1)


def _ranges(cases: Sequence[RecordedCase]) -> str:
    ended = [case for case in cases if not case.out_of_memory]
    slide, ours = [case.slide_ratio for case in ended], [case.estimate_ratio for case in ended]
    return (
        f"the slide's rule {min(slide):.2f} to {max(slide):.2f}, the estimate {min(ours):.3f} to "
        f"{max(ours):.3f}; {len(cases) - len(ended)} ran out of memory"
    )
