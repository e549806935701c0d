"""Keep one CPU core, or the first GPU, busy for a while, so that the panel has something to show."""

import time

from tqdm.auto import tqdm

from workshop_utils.measure.generation import device_here

WIDTH = 2048


def keep_busy(seconds: int) -> None:
    """Multiply matrices for so many seconds, on one core or one GPU, with a progress bar."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        matrix = torch.full((WIDTH, WIDTH), 1 / WIDTH, device=device_here())
        for _ in tqdm(range(seconds), desc=f"busy on {device_here()}", unit="s"):
            until = time.monotonic() + 1
            while time.monotonic() < until:
                # item() waits for the GPU, which otherwise only queues the work
                matrix = matrix @ matrix
                matrix[0, 0].item()
    finally:
        torch.set_num_threads(threads)
