"""An all-reduce over all ranks, started by torchrun: is the sum right, and how fast is it?

Rank 0 prints one JSON line: world size, whether every sum was right, bus bandwidth in 10^9 bytes/s as NCCL
counts it: 2 (n - 1) / n × bytes / seconds (nccl-tests, doc/PERFORMANCE.md).
"""

import json
import os
import sys

import torch
import torch.distributed as dist
from measuring import median_seconds


def main(size_bytes: int) -> None:
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo", device_id=device if on_gpu else None)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    numbers = torch.full((size_bytes // 4,), float(rank + 1), device=device)
    dist.all_reduce(numbers)
    right = torch.tensor(float(bool((numbers == ranks * (ranks + 1) / 2).all())), device=device)
    dist.all_reduce(right, op=dist.ReduceOp.MIN)
    numbers.zero_()  # so that repeated sums do not overflow
    seconds = median_seconds(lambda: dist.all_reduce(numbers), device)
    if rank == 0:
        bandwidth = 2 * (ranks - 1) / ranks * size_bytes / seconds / 1e9
        print(json.dumps({"ranks": ranks, "right": bool(right), "bus_gb_per_s": bandwidth}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]))
