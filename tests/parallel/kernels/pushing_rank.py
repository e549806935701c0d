"""One rank of ``test_pushed_sum.py``: sums its parts with the others' through memory that all have mapped."""

import random
import sys
import time
from pathlib import Path

import torch

from workshop_utils.parallel.kernels.pushed_sum import pushed_sum, slices

TURNS, NUMBERS = 5, 1100


def part_of(rank: int, turn: int) -> torch.Tensor:
    return torch.randn(NUMBERS, generator=torch.Generator().manual_seed(100 * rank + turn))


def main() -> None:
    folder, rank, ranks = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sizes = (2 * ranks * NUMBERS, torch.float32), (slices(NUMBERS) * ranks, torch.int32)
    mapped = [
        torch.from_file(str(folder / f"{kind}{other}"), shared=True, size=size, dtype=dtype)
        for kind, (size, dtype) in zip(("inbox", "flags"), sizes, strict=True)
        for other in range(ranks)
    ]
    addresses = torch.tensor([one.data_ptr() for one in mapped]).view(2, ranks)
    turns = torch.zeros(slices(NUMBERS), dtype=torch.int32)
    sums = []
    for turn in range(TURNS):
        time.sleep(random.Random(100 * rank + turn).random() / 20)  # ranks drift apart
        sums.append(pushed_sum(part_of(rank, turn), *addresses, turns, rank))
    torch.save(sums, folder / f"sums{rank}.pt")


if __name__ == "__main__":
    main()
