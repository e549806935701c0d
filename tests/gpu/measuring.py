"""Speeds of one device: medians of several runs, timed by CUDA events (by the clock on a CPU)."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

REPEATS = 11
WARM_UP = 3


def median_seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Return the median time of ``work`` in seconds.

    CUDA events measure on the device: the host only queues, so that its own speed does not count.
    """
    for _ in range(WARM_UP):
        work()
    if device.type != "cuda":
        return statistics.median(clocked(work) for _ in range(REPEATS))
    pairs = []
    with torch.cuda.device(device):
        for _ in range(REPEATS):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            pairs.append((begin, end))
        torch.cuda.synchronize(device)
    return statistics.median(begin.elapsed_time(end) / 1000 for begin, end in pairs)


def clocked(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def half_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16, or float16 where the GPU has no bfloat16 units (before compute capability 8.0)."""
    old = device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)
    return torch.float16 if old else torch.bfloat16


def product_tflops(device: torch.device, size: int) -> float:
    """Return 10^12 operations a second of a ``size`` × ``size`` matrix product, 2 × size³ operations."""
    dtype = half_precision(device)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    result = torch.empty_like(left)
    seconds = median_seconds(lambda: torch.mm(left, right, out=result), device)
    return 2 * size**3 / seconds / 1e12


def product_error(device: torch.device, size: int) -> float:
    """Return the largest error of a product against float64 on the CPU, relative to its largest entry."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator).to(half_precision(device)) for _ in range(2))
    exact = left.double() @ right.double()
    measured = (left.to(device) @ right.to(device)).cpu().double()
    return float((measured - exact).abs().max() / exact.abs().max())


def copy_gb_per_s(source: torch.device, target: torch.device, size_bytes: int) -> float:
    """Return the 10^9 bytes a second that a copy moves.

    Within one device every byte is read and written, and both count, as in its data sheet's bandwidth;
    between two devices a byte counts once.
    """
    there = torch.ones(size_bytes, dtype=torch.uint8, device=source)
    here = torch.empty_like(there, device=target)
    seconds = median_seconds(lambda: here.copy_(there, non_blocking=True), source)
    return (2 if source == target else 1) * size_bytes / seconds / 1e9


def allocate_and_free(device: torch.device, fraction: float) -> tuple[int, int]:
    """Fill a fraction of the free memory, touch it and let it go; return bytes (filled, not given back)."""
    free, _ = torch.cuda.mem_get_info(device)
    block = torch.full((int(free * fraction),), 1, dtype=torch.uint8, device=device)
    filled = int(block.numel())
    if int(block[-1]) != 1:
        raise RuntimeError(f"{device} did not keep what was written at the end of {filled} bytes")
    del block
    torch.cuda.empty_cache()
    return filled, free - torch.cuda.mem_get_info(device)[0]
