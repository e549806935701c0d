"""What a centre offers, as plain data that the planner chooses from; ``cluster/offers.py`` makes it."""

from dataclasses import dataclass
from typing import Literal

from workshop_utils.hardware.catalogue import Gpu

Link = Literal["nvlink", "pcie"]


@dataclass(frozen=True)
class Offer:
    """One type of GPU that a job may ask for, and how much of it.

    ``per_node`` GPUs stand in each of ``nodes`` nodes; one job may have ``most_gpus`` on ``most_nodes`` for
    ``most_hours``. ``network_gb_per_s`` is between nodes for each GPU and direction, None where unknown.
    ``free_by_node`` are the usable GPUs now of each node that has any; None where nobody asked Slurm.
    ``absent``: Slurm was asked and has no such GPU at all. ``slice_of``: the type that a MIG instance is a
    part of, None for a whole GPU.
    """

    name: str
    gpu: Gpu
    per_node: int
    nodes: int
    most_gpus: int
    most_nodes: int
    most_hours: float
    link: Link = "pcie"
    network_gb_per_s: float | None = None
    whole_nodes: bool = False
    scarce: bool = False
    free_by_node: tuple[int, ...] | None = None
    absent: bool = False
    slice_of: str | None = None

    @property
    def free(self) -> int | None:
        """Usable GPUs now, on whatever nodes; None where nobody asked Slurm."""
        return None if self.free_by_node is None else sum(self.free_by_node)

    @property
    def gb_per_s(self) -> float:
        """One direction between two GPUs of a node, in GB/s."""
        if self.link == "nvlink" and self.gpu.nvlink_gb_per_s:
            return self.gpu.nvlink_gb_per_s / 2
        return PCIE_GB_PER_S[self.gpu.pcie]


# One direction of sixteen lanes, in decimal GB/s: 8, 16 and 32 GT/s less the line code 128b/130b (PCI-SIG).
PCIE_GB_PER_S = {"Gen3 x16": 15.75, "Gen4 x16": 31.5, "Gen5 x16": 63.0}
