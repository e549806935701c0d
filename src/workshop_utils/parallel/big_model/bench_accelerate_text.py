"""Placements in words: a table that compares them, predicted beside measured."""

from collections.abc import Sequence

from workshop_utils.parallel.big_model.bench_accelerate_result import AccelerateFigures
from workshop_utils.units import format_gb

COLUMNS = (
    "placement", "layers", "tokens/s", "TTFT ms", "TPOT ms", "expected", "peak of each device", "predicted",
    "moved a token",
)  # fmt: skip


def comparison_text(runs: Sequence[AccelerateFigures]) -> str:
    """Return a table, a row each run; ``expected`` is the predicted TPOT in ms, ``moved`` are weights."""
    rows = [row_of(one) for one in runs]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = []
    for first, *others in (COLUMNS, *rows):
        padded = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *padded]))
    work = runs[0].case.work
    what = f"batch {work.batch}, {work.tokens} + {work.new} tokens, {work.dtype}"
    title = f"{runs[0].name}, {what} on {runs[0].run['hardware']}"
    return "\n".join([title, "", *lines, *remarks(runs)])


def row_of(one: AccelerateFigures) -> tuple[str, ...]:
    """Return the cells of a run."""
    row = one.as_json()
    moved = row["moved_bytes_per_token"]
    return (
        one.case.placement,
        " + ".join(f"{count} on {key}" for key, count in one.layers.items()),
        f"{one.tokens_per_s:.2f}", f"{one.ttft_ms:.1f}", f"{one.tpot_ms:.2f}",
        f"{row['predicted_tpot_ms']:.2f}", sizes(row["peak_bytes"]), sizes(row["predicted_peak_bytes"]),
        format_gb(moved) if moved else "nothing",
    )  # fmt: skip


def sizes(each: dict[str, int]) -> str:
    """Return the bytes of each device."""
    return ", ".join(f"{key}: {format_gb(size)}" for key, size in each.items())


def remarks(runs: Sequence[AccelerateFigures]) -> list[str]:
    """Return lines under the table: what was read from a disk, how the loading went, which tokens differ."""
    lines = [""]
    for one in runs:
        read = one.run["disk_bytes_per_token"]
        if "disk" in one.layers and read is not None:
            lines.append(
                f"{one.case.placement}: {format_gb(read)} a token really came from the disk, the rest of "
                f"{format_gb(one.run['moved_bytes'])} from the page cache in host memory."
            )
        if load := one.run["load"]:
            size, speed = format_gb(load["bytes"]), f"{load['load_gb_per_s']:.2f} GB/s"
            lines.append(
                f"{one.case.placement}: {size} loaded at {speed}; the disk alone reads the same files at "
                f"{load['read_gb_per_s']:.2f} GB/s."
            )
        if one.greedy_tokens_equal is not None:
            same = "the same tokens as" if one.greedy_tokens_equal else "other tokens than"
            lines.append(f"{one.case.placement}: {same} the run on one device.")
    return lines if len(lines) > 1 else []
