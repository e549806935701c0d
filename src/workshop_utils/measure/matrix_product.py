"""How fast this device multiplies matrices: the flat part of its roofline."""

import time

CPU_WIDTH, GPU_WIDTH, PRODUCTS = 2048, 8192, 5


def product_flops_per_second(device: str, dtype: str) -> float:
    """Return the FLOP/s of a large square matrix product, 2 × width³ operations; the best of a few."""
    import torch

    width = CPU_WIDTH if device == "cpu" else GPU_WIDTH
    one = torch.randn(width, width, device=device, dtype=getattr(torch, dtype))
    other = torch.randn_like(one)
    result = one @ other  # threads start, and on a GPU the library chooses its kernel
    best = 0.0
    for _ in range(PRODUCTS):
        if device != "cpu":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        torch.matmul(one, other, out=result)
        if device != "cpu":
            torch.cuda.synchronize(device)
        best = max(best, 2 * width**3 / (time.perf_counter() - started))
    return best
