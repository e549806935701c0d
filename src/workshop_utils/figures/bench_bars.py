"""Runs of a benchmark, each beside the speed that its device's memory allows."""

from collections.abc import Sequence
from textwrap import wrap

from workshop_utils.errors import WorkshopError
from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, INK, workshop_style
from workshop_utils.measure.measurement import Measurement

SPEED = "tokens_per_s"
NOTE_WIDTH = 120  # characters
# Speeds of one prompt and of many lie too far apart for one linear axis.
LOGARITHMIC_FROM = 10


def bench_bars(runs: Sequence[Measurement]) -> Picture:
    """Draw tokens/s while decoding, a row a run in the order given, and each run's own limit as a mark.

    The limit is what reading weights and KV cache once a step takes at the speed of a large copy on that
    device. Raises WorkshopError when no run has a speed.
    """
    from matplotlib.figure import Figure

    shown = [run for run in runs if SPEED in run.values]
    if not shown:
        raise WorkshopError("none of these runs has tokens_per_s; give files that `workshop bench` wrote.")
    rows = range(len(shown))
    speeds = [run.values[SPEED].value for run in shown]
    limits = [limit_of(run) or speed for run, speed in zip(shown, speeds, strict=True)]
    words = [words_of(run) for run in shown]
    note = "; ".join(dict.fromkeys(run.label for run in shown))
    with workshop_style():
        figure = Figure(figsize=(9.6, 1.6 + 0.34 * len(shown)), layout="constrained")
        axes = figure.subplots()
        axes.hlines(rows, speeds, limits, color=COLOURS["weights"], alpha=0.35, linewidth=5)
        axes.plot(speeds, rows, "o", color=COLOURS["weights"], markersize=8, label="measured")
        axes.plot(limits, rows, "|", color=INK, markersize=13, markeredgewidth=2, label="limit of the memory")
        for row, limit, text in zip(rows, limits, words, strict=True):
            axes.annotate(text, (limit, row), (9, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_yticks(rows, [label_of(run) for run in shown], fontsize=9)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        if max(limits) > LOGARITHMIC_FROM * min(speeds):
            axes.set_xscale("log")
            axes.set_xlim(min(speeds) * 0.8, max(limits) * 8)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        else:
            axes.set_xlim(0, max(limits) * 1.35)
        axes.set_xlabel("tokens/s while decoding", fontsize=9)
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
        figure.supxlabel("\n".join(wrap(note, NOTE_WIDTH)), x=0.01, ha="left", fontsize=8)
    text = "; ".join(f"{label_of(run)} {one}" for run, one in zip(shown, words, strict=True))
    return Picture(figure, f"Tokens/s while decoding: {text}. {note}")


def words_of(run: Measurement) -> str:
    """Return a run's speed and its share of the limit."""
    speed, limit = run.values[SPEED].value, limit_of(run)
    words = f"{speed:,.0f}" if speed >= 1000 else f"{speed:.4g}"
    return words if limit is None else f"{words}  ({speed / limit:.0%} of its limit)"


def limit_of(run: Measurement) -> float | None:
    """Return the tokens/s at which weights and cache are read once a step; None where it was not noted."""
    speed = run.values[SPEED].value
    if "roofline_share" in run.values:
        return speed / run.values["roofline_share"].value
    if "least_tpot" in run.values and "tpot" in run.values:
        return speed * run.values["tpot"].value / run.values["least_tpot"].value
    return None


def label_of(run: Measurement) -> str:
    """Return what ran, in one line: model, strategy, ranks and load."""
    settings = run.settings
    if not {"model", "strategy", "ranks", "batch", "tokens"} <= settings.keys():
        return run.what
    tokens = settings["tokens"]
    load = f"{settings['batch']} × {tokens:,}" if tokens else f"batch {settings['batch']}"
    left_out = f", without {', '.join(settings['without'])}" if settings.get("without") else ""
    parts = [settings["model"], settings.get("engine")]
    if settings["strategy"] != "none":
        parts.append(f"{settings['strategy']} × {settings['ranks']}")
    return ", ".join([part for part in parts if part] + [load]) + left_out
