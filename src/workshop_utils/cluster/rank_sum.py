"""Started by torchrun: adds up over the ranks of all nodes and says whether the sum is right.

The first thing to run on several nodes: it ends within seconds, and what fails is the network and no model.
"""

import os
import socket
import sys
from datetime import timedelta

# Ranks that do not find one another say so, long before a job's time is over.
PATIENCE = timedelta(minutes=5)


def main() -> int:
    """Sum 1, 2, … over the ranks, NCCL between GPUs and gloo between CPUs; 1 where the sum is wrong."""
    import torch
    import torch.distributed as dist

    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", timeout=PATIENCE, device_id=device if on_gpu else None
    )
    rank, ranks = dist.get_rank(), dist.get_world_size()
    number = torch.tensor(float(rank + 1), device=device)
    dist.all_reduce(number)
    hosts: list[str] = [""] * ranks
    dist.all_gather_object(hosts, socket.gethostname())
    right = number.item() == ranks * (ranks + 1) / 2
    if rank == 0:
        nodes = len(set(hosts))
        verdict = "right" if right else "WRONG"
        print(f"{ranks} ranks on {nodes} nodes: 1 + … + {ranks} = {number.item():g}, {verdict}", flush=True)
    dist.destroy_process_group()
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
