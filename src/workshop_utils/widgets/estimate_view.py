"""One estimate as HTML: what it is of, the total against the GPU, the phases, the cache."""

from collections.abc import Iterator
from html import escape

from workshop_utils.memory.estimate import Estimate
from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.memory.largest import fits
from workshop_utils.memory.term import Kind
from workshop_utils.units import format_gb, format_gib
from workshop_utils.widgets.ranks_view import ranks_html
from workshop_utils.widgets.style import KIND_WORDS, KINDS, box_html, chip_html
from workshop_utils.widgets.words import both_units, difference, linked, plural


def estimate_html(result: Estimate, ideal_cache_bytes: int) -> str:
    """Return all about the fullest GPU but its single terms."""
    return box_html(
        heading_html(result),
        total_html(result),
        verdict_html(result),
        bar_html(result),
        remarks_html(result),
        ranks_html(result),
        phases_html(result),
        cache_html(result, ideal_cache_bytes),
    )


def heading_html(result: Estimate) -> str:
    """Return what the figures are of."""
    workload = result.workload
    return (
        f'<div class="quiet">{escape(result.model)}, {result.parameters / 1e9:.2f} B parameters: '
        f"{plural(workload.tokens, 'token')} × batch {workload.batch:,}, weights {workload.dtype}, KV cache "
        f"{workload.kv_dtype}, {workload.engine} with {workload.attention}, {layout_words(result)}</div>"
    )


def layout_words(result: Estimate) -> str:
    """Return the layout in words, for example ``4 GPUs (DP 2 × PP 2 × TP 1, EP 2)``."""
    workload = result.workload
    if len(result.per_gpu) == 1:
        return "one GPU"
    sizes = (workload.data_parallel, workload.pipeline_parallel, workload.tensor_parallel)
    experts = f", EP {workload.expert_ranks}" if workload.expert_parallel else ""
    return f"{len(result.per_gpu)} GPUs (DP {sizes[0]} × PP {sizes[1]} × TP {sizes[2]}{experts})"


def total_html(result: Estimate) -> str:
    """Return what NVML shows for the process on the fullest GPU, in decimal GB and in GiB."""
    bound = "at least " if result.not_counted else ""
    size = result.fullest.process_bytes
    where = "on one GPU" if len(result.per_gpu) == 1 else f"on GPU {result.fullest.rank}, the fullest of them"
    return (
        f'<div role="status">{bound}<span class="workshop-calculator-total">{format_gb(size)}</span> {where} '
        f'<span class="quiet">(= {format_gib(size)}, as nvidia-smi shows it)</span></div>'
    )


def verdict_html(result: Estimate) -> str:
    """Say whether it fits the chosen GPU type; nothing where none is chosen."""
    if result.gpu is None:
        return ""
    good = fits(result, result.gpu)
    memory = f"{escape(result.gpu.name)}, usable {both_units(result.gpu.usable_bytes)}"
    if "max_concurrency" in result.figures:
        requests = (
            f"{result.figures['max_concurrency']:.1f} requests of {plural(result.workload.tokens, 'token')}"
        )
        words = (
            f"vLLM starts on {memory}: room for {requests}" if good else f"vLLM would not start on {memory}"
        )
    elif good:
        words = f"{'May fit' if result.not_counted else 'Fits'} on {memory}"
        if result.process_bytes > result.gpu.usable_bytes:
            words += ", once the allocator gives back part of its reserve"
    else:
        words = f"Does not fit on {memory}"
    return f'<div class="verdict">{"✓" if good else "✗"} {words}</div>'


def bar_html(result: Estimate) -> str:
    """Return one bar, a segment for each kind of term, against the GPU's memory, and a legend with sizes."""
    rank, limit = result.fullest, result.gpu.usable_bytes if result.gpu else 0
    scale = max(rank.process_bytes, limit)
    sizes = kind_bytes(rank)
    segments = "".join(
        f'<span class="kind-{kind}" style="width:{size / scale:.3%}"></span>' for kind, size in sizes.items()
    )
    words = "; ".join(f"{KIND_WORDS[kind]} {format_gb(size)}" for kind, size in sizes.items())
    legend = "".join(
        f"<span>{chip_html(kind)}{KIND_WORDS[kind]} {format_gb(size)}</span>" for kind, size in sizes.items()
    )
    if result.gpu:
        legend += f"<span><b>┆</b> usable on {escape(result.gpu.name)} {format_gb(limit)}</span>"
    line = f'<span class="limit" style="left:calc({limit / scale:.3%} - 2px)"></span>' if limit else ""
    return (
        f'<div class="scale" role="img" aria-label="{words}"><div class="bar">{segments}</div>{line}</div>'
        f'<div class="legend">{legend}</div>'
    )


def kind_bytes(rank: GpuEstimate) -> dict[Kind, int]:
    """Return the bytes of each kind of term that a GPU has, in the order of the bars."""
    sizes = {kind: rank.bytes_of(kind) for kind in KINDS}
    return {kind: size for kind, size in sizes.items() if size}


def remarks_html(result: Estimate) -> str:
    """Return what is not counted, then the notes."""
    missing = ""
    if result.not_counted:
        missing = f"<p><b>A lower bound.</b> Not counted: {escape('; '.join(result.not_counted))}.</p>"
    return missing + "".join(f"<p>{linked(note)}</p>" for note in result.notes)


def phases_html(result: Estimate) -> str:
    """Return the peaks of prefill and decoding, which decide apart, where the engine tells them apart."""
    rank = result.fullest
    peaks = {"Prefill": rank.prefill_peak_bytes, "Decode": rank.decode_peak_bytes}
    known = {name: size for name, size in peaks.items() if size is not None}
    if not known:
        return ""
    most = max(known.values())
    rows = "".join(
        f"<span>{name} peak</span>{thin_bar_html(size / most)}<span class='number'>{format_gb(size)}</span>"
        for name, size in known.items()
    )
    return (
        f'<h4>The two phases</h4><div class="lines">{rows}</div><div class="quiet">Tensors at the fullest '
        f"moment of each, torch.cuda.max_memory_allocated(). {phase_words(known)}</div>"
    )


def phase_words(known: dict[str, int]) -> str:
    """Say which phase decides."""
    if len(known) < 2:
        return "There is nothing to decode."
    if known["Prefill"] == known["Decode"]:
        return "Both need the same."
    first, other = sorted(known, key=lambda name: -known[name])
    return f"{first} decides: {difference(known[first], known[other])} than {other.lower()}.".replace(
        "as much than", "as much as"
    )


def thin_bar_html(share: float) -> str:
    """Return a plain bar that is filled to ``share``; the number stands beside it."""
    return (
        f'<span class="thin" aria-hidden="true"><span class="plain" style="width:{min(share, 1):.2%}">'
        "</span></span>"
    )


def cache_html(result: Estimate, ideal_bytes: int) -> str:
    """Return the cache that a model needs at least beside the one that the engine holds, over all GPUs."""
    held, count = sum(size for _, size in held_cache(result)), len(result.per_gpu)
    parts = dict.fromkeys(name for name, _ in held_cache(result))
    where = "" if count == 1 else f", all {count} GPUs together"
    most = max(held, ideal_bytes, 1)
    rows = "".join(
        f"<span>{name}</span>{thin_bar_html(size / most)}<span class='number'>{format_gb(size)}</span>"
        for name, size in (("Ideal cache", ideal_bytes), ("Really held", held))
    )
    more = f"Held, {difference(held, ideal_bytes)}: {'; '.join(parts) or 'nothing'}."
    return (
        f'<h4>KV cache{where}</h4><div class="lines">{rows}</div><div class="quiet">Ideal: every token that '
        f"a layer may still look at, once. {escape(more)}</div>"
    )


def held_cache(result: Estimate) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of everything on any GPU that is cache, needed or not."""
    for rank in result.per_gpu:
        for term in rank.needed:
            if term.kind == "kv_cache" or term.name.startswith("cache "):
                yield term.name, term.bytes
