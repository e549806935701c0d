"""One run in words: what was asked, what came out, how far from the limit."""

from workshop_utils.parallel.bench_result import RunFigures, spread
from workshop_utils.units import format_gb


def figures_text(figures: RunFigures) -> str:
    """Return a short table, and under it what the check found."""
    case, last = figures.case, figures._last
    rows = [
        ("layout", str(case.layout)),
        ("time to first token", f"{figures.ttft_ms:.1f} ms"),
        ("time per output token", f"{figures.tpot_ms:.2f} ms (spread {spread(last['tpot_ms']):.0%})"),
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
        rows.append(
            ("energy of a new token", f"{figures.joules_per_token:.2f} J, all GPUs, with prefill")
        )
    if figures.predicted_peak_bytes:
        rows.append(("predicted on a GPU", ", ".join(map(format_gb, figures.predicted_peak_bytes))))
    if figures.max_abs_logit_difference is not None:
        same = "all tokens equal" if figures.greedy_tokens_equal else "some tokens differ"
        rows.append(
            ("beside plain transformers", f"logits within {figures.max_abs_logit_difference:.1e}, {same}")
        )
    what = f"batch {case.batch}, {case.tokens} + {case.new} tokens, {case.dtype}"
    title = f"{figures.name}, {case.strategy}, {what}"
    lines = [f"{name:27} {value}" for name, value in rows]
    return "\n".join([f"{title} on {last['hardware']}", "", *lines])
