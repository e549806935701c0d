"""What an engine's rule says of a workload."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from workshop_utils.memory.gpu_estimate import GpuEstimate


class Assessment(NamedTuple):
    """The ranks in order: replica by replica, stage by stage, tensor rank by tensor rank.

    ``not_counted`` names what is missing, so that the figures are lower bounds. ``figures`` are the engine's
    own and stand in the JSON under its name.
    """

    ranks: tuple[GpuEstimate, ...]
    not_counted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Any] = MappingProxyType({})
