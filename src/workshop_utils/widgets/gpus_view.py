"""Every GPU type with how full one estimate would make it."""

from html import escape

from workshop_utils.hardware.catalogue import Gpu, load_gpus
from workshop_utils.memory.estimate import Estimate
from workshop_utils.units import format_gib
from workshop_utils.widgets.style import box_html
from workshop_utils.widgets.words import difference


def gpus_html(result: Estimate, *, quick: bool = False) -> str:
    """Return one line a type, largest first; ``quick`` leaves open who holds it only just."""
    rows = "".join(
        gpu_html(result, gpu, quick) for gpu in sorted(load_gpus(), key=lambda gpu: -gpu.usable_bytes)
    )
    return box_html(f'<h4>GPU types by usable memory</h4><div class="lines">{rows}</div>')


def gpu_html(result: Estimate, gpu: Gpu, quick: bool) -> str:
    """Return name, how full, usable memory and verdict of one type."""
    size = result.process_bytes
    return (
        f'<span title="{escape(f"{gpu.full_name}: {gpu.usable_source}")}">{escape(gpu.name)}</span>'
        f'<span class="thin" aria-hidden="true"><span class="plain" style="width:'
        f'{min(size / gpu.usable_bytes, 1):.1%}"></span></span>'
        f"<span>{format_gib(gpu.usable_bytes)} {verdict(result, gpu, quick)}</span>"
    )


def verdict(result: Estimate, gpu: Gpu, quick: bool) -> str:
    """Say whether a type holds it; a lower bound can only rule out for certain."""
    holds = "may hold it" if result.not_counted else "holds it"
    if result.process_bytes <= gpu.usable_bytes:
        return f"✓ {holds}"
    needed = result.fullest.needed_bytes
    if needed > gpu.usable_bytes:
        return f"✗ too small, needs {difference(needed, gpu.usable_bytes)}"
    # Between the two, the allocator's reserve decides, and that takes a simulation.
    if quick:
        return "close, to be worked out"
    return f"✓ only just {holds}" if result.fits(gpu) else "✗ too small for the reserve"
