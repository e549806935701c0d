"""The comparisons of ``workshop bench memory`` as text: the plan, the table, the summary."""

from collections.abc import Collection, Sequence
from typing import Any

from workshop_utils.measure.bench_memory_report import Comparison, Prediction, summary
from workshop_utils.units import format_gb

HEADERS = ("case", "peak predicted", "measured", "error", "process predicted", "measured", "error", "result")
UNKNOWN = "–"


def plan_text(predictions: Sequence[Prediction], hardware: str) -> str:
    """Return one line a case: what it is predicted to take, and whether that is more than the device has."""
    rows = [("case", "peak", "process", "prediction")]
    for one in predictions:
        peak, process = predicted_sizes(one)
        rows.append((one.case.label, peak, process, call_of(one)))
    over = sum(one.fits is False for one in predictions)
    end = (
        f"{len(predictions)} cases on {hardware}, {over} of them predicted to run out of memory; all are run."
    )
    return f"{columns(rows, left=(0, 3))}\n{end}"


def results_text(comparisons: Sequence[Comparison], fitted: Collection[str], hardware: str) -> str:
    """Return the table of all cases and the summaries; sizes are decimal GB of the fullest device."""
    rows = [HEADERS, *(result_row(one) for one in comparisons)]
    lines = [columns(rows, left=(0, 7)), f"decimal GB of the fullest device; measured on {hardware}", ""]
    lines += [line for name, of in summary(comparisons, fitted).items() for line in summary_lines(name, of)]
    return "\n".join(lines)


def result_row(one: Comparison) -> tuple[str, ...]:
    peak, process = predicted_sizes(one.prediction)
    return (
        one.result.case.label,
        peak, measured_size(one, "peak_allocated"), percent(one.peak_error),
        process if one.on_gpu else UNKNOWN, measured_size(one, "process"), percent(one.process_error),
        remark(one),
    )  # fmt: skip


def remark(one: Comparison) -> str:
    """Return what became of the case, and whether that was predicted."""
    outcome, right = one.result.outcome, one.memory_call
    if outcome == "measured":
        return "fits, predicted not to" if right is False else "ok"
    if outcome == "out_of_memory":
        said = "" if right is None else ", as predicted" if right else ", predicted to fit"
        return f"out of memory{said}"
    return f"{outcome.replace('_', ' ')}: {one.result.message}"


def predicted_sizes(one: Prediction) -> tuple[str, str]:
    if one.estimate is None:
        return UNKNOWN, UNKNOWN
    return format_gb(one.estimate.peak_bytes), format_gb(one.estimate.process_bytes)


def call_of(one: Prediction) -> str:
    if one.estimate is None:
        return f"not predicted: {one.reason}"
    return {True: "fits", False: "out of memory", None: "device's memory not known"}[one.fits]


def measured_size(one: Comparison, name: str) -> str:
    """Return the largest of all devices; after running out of memory it is a lower bound."""
    sizes = [values[name] for values in one.result.values if name in values]
    if not sizes:
        return UNKNOWN
    return ("> " if one.result.outcome == "out_of_memory" else "") + format_gb(max(sizes))


def percent(error: float | None) -> str:
    return UNKNOWN if error is None else f"{100 * error:+.1f} %"


def summary_lines(name: str, of: dict[str, Any]) -> list[str]:
    """Return the lines of one group of models."""
    if not of["cases"]:
        return [f"{name}: no case"]
    lines = [f"{name}: {of['cases']} cases"]
    for figure in ("peak", "process"):
        if of[figure]:
            lines.append(
                f"  {figure}: median error {100 * of[figure]['median']:.1f} %, worst "
                f"{100 * of[figure]['worst']:.1f} %, of {of[figure]['cases']}"
            )
    if of["memory_calls"]:
        lines.append(f"  fits or not: {of['memory_calls_right']} of {of['memory_calls']} predicted rightly")
    return lines


def columns(rows: Sequence[Sequence[str]], left: Collection[int]) -> str:
    """Return rows in columns: those of ``left`` aligned left, figures right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
