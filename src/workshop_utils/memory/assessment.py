"""What an engine's rule says of a workload."""

from dataclasses import dataclass, field
from typing import Any

from workshop_utils.memory.gpu_estimate import GpuEstimate


@dataclass(frozen=True)
class Assessment:
    """The ranks in order: replica by replica, stage by stage, tensor rank by tensor rank.

    ``not_counted`` names what is missing, so that the figures are lower bounds. ``figures`` are the engine's
    own and stand in the JSON under its name.
    """

    ranks: tuple[GpuEstimate, ...]
    not_counted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
