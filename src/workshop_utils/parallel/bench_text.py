"""One run in words: what was asked, what came out, how far from the limit."""

from collections.abc import Sequence

from workshop_utils.parallel.bench_result import RunFigures, spread
from workshop_utils.units import format_gb

COLUMNS = ("strategy", "batch", "tokens", "TTFT ms", "TPOT ms", "least", "tokens/s", "memory a rank")


def comparison_text(runs: Sequence[RunFigures]) -> str:
    """Return a table of several runs, a row each, and what failed in them.

    ``least`` is the least time of a token in ms.
    """
    rows = [
        (
            f"{one.case.strategy} × {one.case.ranks}", str(one.case.batch), str(one.case.tokens),
            f"{one.ttft_ms:.1f}", f"{one.tpot_ms:.2f}", f"{one.predicted_tpot_ms:.2f}",
            f"{one.tokens_per_s:.1f}", format_gb(max(rank["peak_bytes"] for rank in one.ranks)),
        )
        for one in runs
    ]  # fmt: skip
    if len({one.name for one in runs}) > 1:
        rows = [(f"{one.name}, {row[0]}", *row[1:]) for one, row in zip(runs, rows, strict=True)]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = []
    for first, *others in (COLUMNS, *rows):
        padded = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *padded]))
    hardware, case = max(runs, key=lambda one: one.case.ranks).hardware, runs[0].case
    title = f"{runs[0].name}, {case.new} new tokens, {case.dtype} on {hardware}"
    failed = [
        f"{row[0]}, batch {row[1]}: replica {number} failed, the others went on: {reason}"
        for row, one in zip(rows, runs, strict=True)
        if one.answered is not None
        for number, reason in one.answered.failures.items()
    ]
    return "\n".join([title, "", *lines, *([""] if failed else []), *failed])


def figures_text(figures: RunFigures) -> str:
    """Return a short table, and under it what the check found."""
    case, last = figures.case, figures._last
    apart = spread(figures._times("tpot_ms"))
    rows = [
        ("layout", str(case.layout)),
        ("time to first token", f"{figures.ttft_ms:.1f} ms"),
        ("time per output token", f"{figures.tpot_ms:.2f} ms (spread {apart:.0%})"),
        ("tokens/s while decoding", f"{figures.tokens_per_s:.1f}"),
        ("least time of a token", f"{figures.predicted_tpot_ms:.2f} ms, to read weights and cache once"),
        ("share of the roofline", f"{figures.roofline_share:.0%} (a large copy's speed is 100 %)"),
        ("sent by a rank each step", f"{figures.bytes_sent_per_token:,} bytes"),
        ("weights of each rank", ", ".join(format_gb(rank["weight_bytes"]) for rank in figures.ranks)),
        ("highest memory of each", ", ".join(format_gb(rank["peak_bytes"]) for rank in figures.ranks)),
    ]
    if figures.answered is not None:
        counts = ", ".join(str(figures.answered.by[n]) for n in sorted(figures.answered.by))
        speed = len(figures.answered.answers) * case.new / figures.answered.seconds
        rows.append(("tokens/s, prefill included", f"{speed:.1f}"))
        rows.append(("prompts that each answered", counts))
        rows += [(f"replica {n} failed", reason) for n, reason in figures.answered.failures.items()]
    if figures.joules_per_token is not None:
        rows.append(("energy of a new token", f"{figures.joules_per_token:.2f} J, all GPUs, with prefill"))
    if figures.predicted_peak_bytes:
        rows.append(("predicted on a GPU", ", ".join(map(format_gb, figures.predicted_peak_bytes))))
    if figures.max_abs_logit_difference is not None:
        # What rounding to 16 bits does to either, where it was measured.
        exact, plain = (last.get(name) for name in ("relative_to_float32", "plain_relative_to_float32"))
        if exact is not None:
            rows.append(("away from float32", f"{exact:.2%} of the norm; plain transformers {plain:.2%}"))
        same = "all tokens equal" if figures.greedy_tokens_equal else "some tokens differ"
        found = f"logits within {figures.max_abs_logit_difference:.1e}"
        if figures.relative_logit_difference is not None:
            found += f" ({100 * figures.relative_logit_difference:.2g} % of their norm)"
        rows.append(("beside plain transformers", f"{found}, {same}"))
    what = f"batch {case.batch}, {case.tokens} + {case.new} tokens, {case.dtype}"
    title = f"{figures.name}, {case.strategy}, {what}"
    lines = [f"{name:27} {value}" for name, value in rows]
    return "\n".join([f"{title} on {figures.hardware}", "", *lines])
