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
    gpus = (result.gpu,) if result.gpu else load_gpus()
    blocks = [heading(architecture, result), term_table(result), gpu_lines(result, gpus), remarks(result)]
    return "\n\n".join("\n".join(block) for block in blocks)


def heading(architecture: Architecture, result: Estimate) -> list[str]:
    """Return what is estimated, in two lines."""
    counts = count_parameters(architecture)
    active = f", {counts.active / 1e9:.2f} B active a token" if counts.active < counts.total else ""
    kinds = " + ".join(f"{count} {kind}" for kind, count in architecture.layer_kinds.items())
    workload = result.workload
    return [
        f"{architecture.name}: {counts.total:,} parameters{active}; {kinds} attention layers",
        f"{workload.tokens:,} tokens × batch {workload.batch:,}, weights {workload.dtype}, "
        f"KV cache {workload.kv_dtype}, {workload.engine} with {workload.attention}, one GPU",
    ]


def term_table(result: Estimate) -> list[str]:
    """Return one line a term, then the sums of the fullest GPU."""
    fullest = max(result.per_gpu, key=lambda gpu: gpu.process_bytes)
    largest = max(term.bytes for term in fullest.terms)
    width = max(len(term.name) for term in fullest.terms)
    lines = [term_line(term, width, largest) for term in fullest.terms]
    lines.append("─" * (width + BAR_WIDTH + 24))
    lines.append(f"{'in the allocator (peak)':<{width + BAR_WIDTH + 2}}{format_gb(result.peak_bytes):>10}")
    lines.append(
        f"{'process, as NVML shows it':<{width + BAR_WIDTH + 2}}{format_gb(result.process_bytes):>10}"
        f"  = {format_gib(result.process_bytes)}, lower bound"
    )
    return lines


def term_line(term: Term, width: int, largest: int) -> str:
    return f"{term.name:<{width}}  {bar(term.bytes / largest)}{format_gb(term.bytes):>10}  {term.certainty}"


def bar(share: float) -> str:
    """Return a bar of ``BAR_WIDTH`` characters, filled to ``share`` in eighths of a character."""
    eighths = round(share * BAR_WIDTH * len(EIGHTHS))
    full, rest = divmod(eighths, len(EIGHTHS))
    return ("█" * full + EIGHTHS[rest].strip()).ljust(BAR_WIDTH)


def gpu_lines(result: Estimate, gpus: tuple[Gpu, ...]) -> Iterator[str]:
    """Yield which GPUs hold the process, by usable memory; a lower bound can only rule out for certain."""
    by_memory = sorted(gpus, key=lambda gpu: gpu.usable_gib)
    holds = [gpu for gpu in by_memory if gpu.usable_bytes >= result.process_bytes]
    small = [gpu for gpu in by_memory if gpu not in holds]
    for title, group in (("May hold it (usable memory): ", holds), ("Too small for certain:       ", small)):
        if group:
            # A type's name and memory stay on one line.
            items = ", ".join(with_memory(gpu).replace(" ", "\N{NO-BREAK SPACE}") for gpu in group)
            text = textwrap.fill(title + items, LINE_WIDTH, subsequent_indent=" " * len(title))
            yield text.replace("\N{NO-BREAK SPACE}", " ")


def with_memory(gpu: Gpu) -> str:
    return f"{gpu.name} {format_gib(gpu.usable_bytes)}"


def remarks(result: Estimate) -> Iterator[str]:
    """Yield what is not counted, and the notes."""
    if result.not_counted:
        missing = f"Not counted yet, so every sum is a lower bound: {'; '.join(result.not_counted)}."
        yield textwrap.fill(missing, LINE_WIDTH)
    yield from (textwrap.fill(note, LINE_WIDTH) for note in result.notes)
