"""The layouts side by side: a stacked bar for each GPU against the memory that one GPU has."""

from html import escape

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.estimate import Estimate
from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.memory.largest import fits
from workshop_utils.units import GB, format_gb
from workshop_utils.widgets.estimate_view import kind_bytes
from workshop_utils.widgets.side_by_side import Column
from workshop_utils.widgets.style import KIND_WORDS, KINDS, box_html, chip_html
from workshop_utils.widgets.words import both_units

PLOT_HEIGHT = 170  # pixels, as in the style sheet


def side_by_side_html(columns: list[Column], gpu: Gpu | None) -> str:
    """Return all layouts on one scale, the legend, and the same numbers as a table."""
    limit = gpu.usable_bytes if gpu else 0
    sizes = [rank.process_bytes for column in columns if column.result for rank in column.result.per_gpu]
    scale = max([limit, *sizes])
    groups = "".join(column_html(column, gpu, scale) for column in columns)
    line = (
        f"<span><b>┄</b> usable on {escape(gpu.name)}: {both_units(limit)}</span>"
        if gpu
        else "<span>Choose a GPU type to see its memory as a line.</span>"
    )
    legend = "".join(f"<span>{chip_html(kind)}{KIND_WORDS[kind]}</span>" for kind in KINDS)
    return box_html(
        f'<div class="layouts">{groups}</div>',
        '<div class="quiet">Below each bar: GB (decimal), and the GPU.</div>',
        f'<div class="legend">{legend}{line}</div>{table_html(columns)}',
    )


def column_html(column: Column, gpu: Gpu | None, scale: int) -> str:
    """Return one layout: its name, a verdict, one bar for each GPU in GB, or why it cannot be."""
    name = f'<div class="name">{escape(column.name)}</div>'
    words = f'<div class="quiet">{escape(column.words)}</div>'
    if column.result is None:
        inside = f'<div class="plot"><div class="refused">✗ {escape(column.sentence)}</div></div>'
        return f'<div class="layout">{name}{words}{inside}</div>'
    ranks = column.result.per_gpu
    bars = "".join(rank_html(rank, scale) for rank in ranks)
    line = ""
    if gpu:
        line = f'<span class="limit" style="bottom:{gpu.usable_bytes / scale * PLOT_HEIGHT:.0f}px"></span>'
    numbers = "".join(
        f'<span>{rank.process_bytes / GB:.1f}<br><span class="quiet">{rank.rank}</span></span>'
        for rank in ranks
    )
    spoken = "; ".join(f"GPU {rank.rank} {format_gb(rank.process_bytes)}" for rank in ranks)
    return (
        f'<div class="layout">{name}{words}{verdict_html(column.result, gpu)}'
        f'<div class="plot" role="img" aria-label="{escape(column.name)}: {spoken}">{bars}{line}</div>'
        f'<div class="ranks" aria-hidden="true">{numbers}</div></div>'
    )


def verdict_html(result: Estimate, gpu: Gpu | None) -> str:
    """Say whether every GPU holds its share, and what vLLM serves; nothing where no type is chosen."""
    if gpu is None:
        return ""
    good, requests = fits(result, gpu), result.figures.get("max_concurrency")
    if requests is not None:
        together = requests * result.workload.data_parallel
        words = f"✓ {together:,.1f} requests at a time" if good else "✗ would not start"
    elif good:
        words = "✓ may fit" if result.not_counted else "✓ fits"
    else:
        words = "✗ does not fit"
    return f'<div class="verdict">{words}</div>'


def rank_html(rank: GpuEstimate, scale: int) -> str:
    """Return one bar, the weights at the bottom."""
    pieces = "".join(
        f'<span class="kind-{kind}" style="height:{part / scale * PLOT_HEIGHT:.1f}px"></span>'
        for kind, part in reversed(kind_bytes(rank).items())
    )
    return f'<div class="rank">{pieces}</div>'


def table_html(columns: list[Column]) -> str:
    """Return the fullest GPU of each layout in numbers, folded away."""
    known = [(column.name, column.result.fullest) for column in columns if column.result]
    if not known:
        return ""
    heads = "".join(f'<th class="number">{escape(name)}</th>' for name, _ in known)
    rows = "".join(
        f"<tr><th>{KIND_WORDS[kind]}</th>{cells([rank.bytes_of(kind) for _, rank in known])}</tr>"
        for kind in KINDS
    )
    total = f'<tr class="sum"><th>together</th>{cells([rank.process_bytes for _, rank in known])}</tr>'
    return (
        "<details><summary>The fullest GPU of each in numbers</summary>"
        f"<table><tr><td></td>{heads}</tr>{rows}{total}</table></details>"
    )


def cells(sizes: list[int]) -> str:
    return "".join(f'<td class="number">{format_gb(size)}</td>' for size in sizes)
