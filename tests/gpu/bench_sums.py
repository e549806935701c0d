"""How long ranks take to sum one token's hidden states: NCCL, torch's one-shot kernel, and ours.

    torchrun --nproc-per-node 2 tests/gpu/bench_sums.py

Times are those of one sum among many in a CUDA graph; the first two ways need a copy of the part besides.
Rank 0 prints them and writes them to ``$OUT/sums.json``.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._symmetric_memory as symmetric
from measuring import median_seconds

from workshop_utils.parallel.small_sum import SmallSum
from workshop_utils.parallel.tensor import TensorGroup

SHAPES = ((1, 4096), (1, 5120), (1, 8192), (8, 5120), (32, 4096))
SUMS = 64  # two a layer of Llama 3.1 8B
DTYPE = torch.bfloat16
Sum = Callable[[torch.Tensor], torch.Tensor]


def sums(shape: tuple[int, int], group: TensorGroup, device: str) -> dict[str, Sum]:
    """Return the three ways; each keeps what it needs."""
    shared = symmetric.empty(shape, dtype=DTYPE, device=device)
    symmetric.rendezvous(shared, dist.group.WORLD)

    def torch_one_shot(part: torch.Tensor) -> torch.Tensor:
        shared.copy_(part)
        return torch.ops.symm_mem.one_shot_all_reduce(shared, "sum", dist.group.WORLD.group_name)

    return {
        "nccl": lambda part: group.sum(part.clone()),
        "torch one-shot": torch_one_shot,
        "ours": SmallSum(group, shape, DTYPE, device, one_shot=True),
    }


def microseconds(add: Sum, part: torch.Tensor) -> float:
    def step() -> None:
        for _ in range(SUMS):
            add(part)

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return 1e6 * median_seconds(graph.replay, part.device) / SUMS


def main() -> None:
    rank = int(os.environ["RANK"])
    device = f"cuda:{os.environ['LOCAL_RANK']}"
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", device_id=torch.device(device))
    group = TensorGroup(rank, dist.get_world_size())
    rows: list[dict[str, Any]] = []
    for shape in SHAPES:
        torch.manual_seed(rank)
        part = torch.randn(shape, device=device).to(DTYPE)
        expected = part.float()
        dist.all_reduce(expected)
        for name, add in sums(shape, group, device).items():
            times = microseconds(add, part)
            error = float((add(part).float() - expected).abs().max() / expected.abs().max())
            rows.append({"shape": shape, "way": name, "microseconds": times, "relative_error": error})
    if rank == 0:
        for row in rows:
            print(row, flush=True)
        if "OUT" in os.environ:
            Path(os.environ["OUT"], "sums.json").write_text(json.dumps(rows), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
