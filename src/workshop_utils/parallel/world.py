"""The ranks of one replica: who this process is among them, its device, and how it reaches the others."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from workshop_utils.errors import WorkshopError
from workshop_utils.parallel.layout import Layout, Place
from workshop_utils.parallel.pipeline import Link
from workshop_utils.parallel.tensor import TensorGroup

# A rank that waits longer than this for another one gives up; loading a large model takes minutes.
TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class World:
    """``place``: where this rank stands in ``layout``; ``tensor`` and ``link``: how it reaches others."""

    layout: Layout
    place: Place
    device: str
    tensor: TensorGroup
    link: Link


@contextmanager
def join(layout: Layout, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[World]:
    """Join the ranks that torchrun started, NCCL between GPUs and gloo between CPUs, and leave at the end.

    Without torchrun, this process is all there is. Raises WorkshopError unless there are as many ranks as the
    layout has.
    """
    import torch

    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if layout.data != 1 or ranks != layout.ranks:
        raise WorkshopError(
            f"{layout} is run by replicas of {layout.pipeline * layout.tensor} ranks, and {ranks} were "
            "started; start each replica with as many."
        )
    place = layout.place(int(os.environ.get("RANK", "0")))
    device = "cpu"
    if torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if ranks == 1:
        yield World(layout, place, device, TensorGroup(), Link())
        return
    import torch.distributed as dist

    on_gpu = device != "cpu"
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        timeout=timedelta(seconds=timeout_seconds),
        device_id=torch.device(device) if on_gpu else None,
    )
    try:
        yield connected(layout, place, device)
    finally:
        dist.destroy_process_group()


def connected(layout: Layout, place: Place, device: str) -> World:
    """Make the groups; every rank makes all of them, in the same order, as torch.distributed wants."""
    import torch.distributed as dist

    tensor = TensorGroup()
    if layout.tensor > 1:
        for stage in range(layout.pipeline):
            group = dist.new_group([layout.rank_of(0, stage, rank) for rank in range(layout.tensor)])
            if stage == place.stage:
                tensor = TensorGroup(place.tensor, layout.tensor, group)
    link = Link()
    if layout.pipeline > 1:
        # Two groups: what goes forward must never wait behind what comes back.
        forward, back = dist.new_group(), dist.new_group()
        line = [layout.rank_of(0, stage, place.tensor) for stage in range(layout.pipeline)]
        link = Link(place.stage, layout.pipeline, tuple(line), forward, back)
    return World(layout, place, device, tensor, link)
