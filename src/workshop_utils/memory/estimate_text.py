"""An estimate as text: a table of terms with bars, then the GPUs that hold it."""

import textwrap
from collections.abc import Iterator

from workshop_utils.hardware.catalogue import Gpu, load_gpus
from workshop_utils.memory.estimate import Estimate
from workshop_utils.memory.term import Term
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.units import format_gb, format_gib

LINE_WIDTH = 100
BAR_WIDTH = 24
EIGHTHS = " ▏▎▍▌▋▊▉"


def estimate_text(architecture: Architecture, result: Estimate) -> str:
    """Return the lines that ``workshop estimate`` prints."""
    blocks = [
        heading(architecture, result), term_table(result), rank_lines(result), gpu_lines(result),
        remarks(result),
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := list(block)))


def heading(architecture: Architecture, result: Estimate) -> list[str]:
    """Return what is estimated, in two lines."""
    counts = count_parameters(architecture)
    active = f", {counts.active / 1e9:.2f} B active a token" if counts.active < counts.total else ""
    kinds = " + ".join(f"{count} {kind}" for kind, count in architecture.layer_kinds.items())
    workload = result.workload
    on = f" on {result.gpu.name}" if result.gpu else ""
    return [
        f"{architecture.name}: {counts.total:,} parameters{active}; {kinds} attention layers",
        f"{workload.tokens:,} tokens × batch {workload.batch:,}, weights {workload.dtype}, "
        f"KV cache {workload.kv_dtype}, {workload.engine} with {workload.attention}, {layout(result)}{on}",
    ]


def layout(result: Estimate) -> str:
    """Return the layout in words, for example ``8 GPUs (dp 2 × pp 1 × tp 4, ep 8)``."""
    workload, count = result.workload, len(result.per_gpu)
    if count == 1:
        return "one GPU"
    sizes = (workload.data_parallel, workload.pipeline_parallel, workload.tensor_parallel)
    experts = f", ep {workload.expert_ranks}" if workload.expert_parallel else ""
    return f"{count} GPUs (dp {sizes[0]} × pp {sizes[1]} × tp {sizes[2]}{experts})"


def term_table(result: Estimate) -> list[str]:
    """Return one line a term of the fullest GPU, then its sums."""
    fullest = result.fullest
    largest = max(term.bytes for term in fullest.terms)
    width = max(len(term.name) for term in fullest.terms)
    lines = [f"rank {fullest.rank}, the fullest GPU:"] if len(result.per_gpu) > 1 else []
    lines += [term_line(term, width, largest) for term in fullest.terms]
    lines.append("─" * (width + BAR_WIDTH + 24))
    sums = [
        ("prefill peak", fullest.prefill_peak_bytes),
        ("decode peak", fullest.decode_peak_bytes),
        ("in the allocator (peak)", fullest.peak_bytes),
    ]
    lines += [
        f"{name:<{width + BAR_WIDTH + 2}}{format_gb(size):>10}" for name, size in sums if size is not None
    ]
    bound = ", lower bound" if result.not_counted else ""
    lines.append(
        f"{'process, as NVML shows it':<{width + BAR_WIDTH + 2}}{format_gb(fullest.process_bytes):>10}"
        f"  = {format_gib(fullest.process_bytes)}{bound}"
    )
    return lines


def term_line(term: Term, width: int, largest: int) -> str:
    return f"{term.name:<{width}}  {bar(term.bytes / largest)}{format_gb(term.bytes):>10}  {term.certainty}"


def bar(share: float) -> str:
    """Return a bar of ``BAR_WIDTH`` characters, filled to ``share`` in eighths of a character."""
    eighths = round(share * BAR_WIDTH * len(EIGHTHS))
    full, rest = divmod(eighths, len(EIGHTHS))
    return ("█" * full + EIGHTHS[rest].strip()).ljust(BAR_WIDTH)


def rank_lines(result: Estimate) -> Iterator[str]:
    """Yield one line a GPU of one replica, where there are several."""
    # Where experts are spread over them, replicas differ and are one whole.
    replicas = 1 if result.workload.expert_parallel else result.workload.data_parallel
    ranks = result.per_gpu[: len(result.per_gpu) // replicas]
    if len(ranks) == 1:
        return
    largest = max(rank.process_bytes for rank in ranks)
    for rank in ranks:
        size = rank.process_bytes
        yield f"rank {rank.rank:<3} {bar(size / largest)}{format_gb(size):>10}  = {format_gib(size)}"


def gpu_lines(result: Estimate) -> Iterator[str]:
    """Yield which GPU types hold every rank; a lower bound can only rule out for certain."""
    lower = bool(result.not_counted)
    if result.gpu:
        verdict = "fits" if result.fits(result.gpu) else "does not fit"
        if result.workload.engine == "vllm":
            return
        most = f"{'may fit' if lower and verdict == 'fits' else verdict} on {with_memory(result.gpu)}"
        yield f"It {most} of usable memory."
        return
    by_memory = sorted(load_gpus(), key=lambda gpu: gpu.usable_gib)
    holds = [gpu for gpu in by_memory if result.fits(gpu)]
    small = [gpu for gpu in by_memory if gpu not in holds]
    titles = ("May hold it (usable memory): " if lower else "Hold it (usable memory): ", "Too small: ")
    for title, group in zip(titles, (holds, small), strict=True):
        if group:
            # A type's name and memory stay on one line.
            items = ", ".join(with_memory(gpu).replace(" ", "\N{NO-BREAK SPACE}") for gpu in group)
            text = textwrap.fill(title + items, LINE_WIDTH, subsequent_indent=" " * len(title))
            yield text.replace("\N{NO-BREAK SPACE}", " ")


def with_memory(gpu: Gpu) -> str:
    return f"{gpu.name} {format_gib(gpu.usable_bytes)}"


def remarks(result: Estimate) -> Iterator[str]:
    """Yield the engine's figures, what is not counted, and the notes."""
    vllm = result.figures if result.workload.engine == "vllm" else {}
    if vllm:
        yield (
            f"vLLM: KV cache {format_gib(vllm['kv_pool_bytes'])} on the rank that limits, "
            f"{vllm['kv_cache_tokens']:,} tokens, {vllm['max_concurrency']:.2f} requests of "
            f"{result.workload.tokens:,} tokens at a time."
        )
    if result.not_counted:
        missing = f"Not counted, so every sum is a lower bound: {'; '.join(result.not_counted)}."
        yield textwrap.fill(missing, LINE_WIDTH)
    yield from (textwrap.fill(note, LINE_WIDTH) for note in result.notes)
