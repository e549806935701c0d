"""What this device can do at most: the limits that measured figures are held against."""

import time

# Read and written once: far more than any cache of a GPU or CPU holds.
CPU_COPY_BYTES, GPU_COPY_BYTES, COPIES = 1 << 28, 1 << 31, 8


def copy_bytes_per_second(device: str) -> float:
    """Return the memory bandwidth of a large copy, bytes read plus bytes written; the best of a few."""
    import torch

    size = CPU_COPY_BYTES if device == "cpu" else GPU_COPY_BYTES
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(COPIES):
        if device != "cpu":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        target.copy_(source)
        if device != "cpu":
            torch.cuda.synchronize(device)
        best = max(best, 2 * size / (time.perf_counter() - started))
    return best
