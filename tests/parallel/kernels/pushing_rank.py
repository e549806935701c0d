"""One rank of ``test_pushed_sum.py``: sums its parts with the others' through memory that all have mapped."""

import random
import sys
import time
from pathlib import Path

import torch

from workshop_utils.parallel.kernels.matvec import push_matvec
from workshop_utils.parallel.kernels.pushed_sum import Inboxes, pushed_sum, slices, taken_sum, words_for

# Words that fill no whole number of programs, outputs that fill no whole number of blocks.
TURNS, VECTORS, OUTPUTS, INPUTS = 6, 2, 138, 48


def part_of(rank: int, turn: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the vectors, weights and residual of which this rank's part is made."""
    generator = torch.Generator().manual_seed(100 * rank + turn)
    shapes = (VECTORS, INPUTS), (OUTPUTS, INPUTS), (VECTORS, OUTPUTS)
    x, weight, residual = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return x, weight, residual


def main() -> None:
    folder, rank, ranks, dtype = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    words = words_for(VECTORS * OUTPUTS, getattr(torch, dtype))
    mapped = [
        torch.from_file(str(folder / f"inbox{other}"), shared=True, size=2 * ranks * words, dtype=torch.int64)
        for other in range(ranks)
    ]
    addresses = torch.tensor([one.data_ptr() for one in mapped])
    inboxes = Inboxes(addresses, torch.zeros(1 + slices(words), dtype=torch.int32), rank)
    sums = []
    for turn in range(TURNS):
        time.sleep(random.Random(100 * rank + turn).random() / 20)  # ranks drift apart
        x, weight, residual = part_of(rank, turn, getattr(torch, dtype))
        if turn % 2:
            push_matvec(x, weight, inboxes, residual)
            time.sleep(random.Random(7 * rank + turn).random() / 20)
            sums.append(taken_sum(torch.empty_like(residual), inboxes))
        else:
            sums.append(pushed_sum(x @ weight.T + residual, inboxes))
    torch.save(sums, folder / f"sums{rank}.pt")


if __name__ == "__main__":
    main()
