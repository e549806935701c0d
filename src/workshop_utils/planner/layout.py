"""How many GPUs, split how: data × pipeline × tensor (and expert) parallel, and the nodes that it takes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from workshop_utils.memory.layout_check import first_obstacle
from workshop_utils.models.architecture import Architecture
from workshop_utils.planner.offer import Offer


@dataclass(frozen=True, order=True)
class Layout:
    """``data`` times ``pipeline`` stages of ``tensor`` ranks; one GPU for each rank.

    ``expert``: ranks that share whole experts out, 1 where tensor ranks cut each. Where they are more than
    ``tensor``, several of the ``data`` engines are one replica: each has attention for its own prompts, and
    they have the experts in common.
    """

    data: int = 1
    pipeline: int = 1
    tensor: int = 1
    expert: int = 1

    @property
    def engines(self) -> int:
        """Engines of one replica."""
        return max(1, self.expert // self.tensor)

    @property
    def copies(self) -> int:
        """Replicas, which know nothing of one another."""
        return self.data // self.engines

    @property
    def replica_gpus(self) -> int:
        return self.engines * self.pipeline * self.tensor

    @property
    def gpus(self) -> int:
        return self.data * self.pipeline * self.tensor

    def replica(self) -> "Layout":
        """Return the layout of one replica."""
        return replace(self, data=self.engines)

    def words(self) -> str:
        """Return such as ``DP 2 × TP 4``, ``DP 8 with EP 8``, or ``one GPU``."""
        sizes = (("DP", self.data), ("PP", self.pipeline), ("TP", self.tensor))
        named = [f"{name} {size}" for name, size in sizes if size > 1]
        experts = f" with EP {self.expert}" if self.expert > 1 else ""
        return (" × ".join(named) or "one GPU") + experts

    def as_json(self) -> dict[str, int]:
        return {"dp": self.data, "pp": self.pipeline, "tp": self.tensor, "ep": self.expert}


@dataclass(frozen=True)
class Nodes:
    """The nodes of a layout, the same number of GPUs on each."""

    nodes: int
    gpus_per_node: int


def sizes_up_to(most: int) -> Iterator[int]:
    """Yield the powers of two up to ``most``: what heads and widths of published models divide by."""
    size = 1
    while size <= most:
        yield size
        size *= 2


def most_of_a_job(offer: Offer) -> int:
    """Return the most GPUs of an offer that one job may have."""
    return min(offer.most_gpus, offer.per_node * offer.most_nodes)


def replica_layouts(architecture: Architecture, offer: Offer) -> list[Layout]:
    """Return every way to split one replica over GPUs of an offer, fewest GPUs first.

    Also those over a node's size, or that the model cannot have: a reader who wonders why is told.
    """
    most = most_of_a_job(offer)
    # Beside the usual sizes, those that a model with odd numbers of heads divides by.
    odd = {size for size in range(3, offer.per_node + 1, 2) if not first_obstacle(architecture, size)}
    found = [
        Layout(pipeline=pipeline, tensor=tensor)
        for tensor in {*sizes_up_to(most), *odd}
        for pipeline in sizes_up_to(most // tensor)
    ]
    return sorted(found, key=lambda layout: (layout.gpus, layout.pipeline))


def place(layout: Layout, offer: Offer) -> Nodes | str:
    """Return the nodes that a layout takes, or in half a sentence why the offer has none for it."""
    gpus = layout.gpus
    nodes, rest = divmod(gpus, offer.per_node)
    reason = None
    if gpus > offer.most_gpus:
        reason = f"a job may have {offer.most_gpus} of them, not {gpus}"
    elif layout.expert > offer.per_node:
        reason = (
            "ranks that share experts out pass every token on in every layer, and a job here starts their "
            f"engines on one node, which has {offer.per_node}"
        )
    elif layout.tensor > offer.per_node:
        reason = (
            "tensor ranks add up twice in every layer, which no network between nodes is fast enough for, "
            f"and a node has {offer.per_node}"
        )
    elif nodes and rest and gpus > offer.per_node:
        reason = f"{gpus} are no whole number of nodes of {offer.per_node}"
    elif nodes > offer.most_nodes:
        reason = f"it takes {nodes} nodes and a job may have {offer.most_nodes}"
    elif nodes > offer.nodes:
        reason = f"it takes {nodes} nodes and there {'is' if offer.nodes == 1 else 'are'} {offer.nodes}"
    return reason or Nodes(max(1, nodes), min(gpus, offer.per_node))
