"""From the GPU's total to the KV cache: what vLLM takes off first, rank by rank.

Source: ``determine_available_memory`` in vllm/v1/worker/gpu_worker.py.
"""

import math
from dataclasses import dataclass

from workshop_utils.memory.vllm.activations import Piece, peak_pieces, runner_state_bytes, total
from workshop_utils.memory.vllm.blocks import Pool, make_pool
from workshop_utils.memory.vllm.releases import constants, number
from workshop_utils.memory.vllm.settings import Settings
from workshop_utils.memory.vllm.stages import Stage, cut
from workshop_utils.memory.vllm.weights import Storage, bytes_by_part
from workshop_utils.models.architecture import Architecture
from workshop_utils.units import GIB


@dataclass(frozen=True, slots=True)
class StageBudget:
    """What one rank of a stage holds, in bytes. ``available_bytes`` is what the log calls available.

    ``graph_bytes`` and ``runner_state_bytes`` (the newer runner keeps them) are taken off where counted,
    and otherwise come on top of the budget.
    """

    stage: Stage
    requested_bytes: int
    weights: dict[str, int]
    activations: tuple[Piece, ...]
    non_torch_bytes: int
    graph_bytes: int
    graphs_counted: bool
    runner_state_bytes: int
    runner_state_counted: bool

    @property
    def weights_bytes(self) -> int:
        return sum(self.weights.values())

    @property
    def activation_bytes(self) -> int:
        return total(self.activations)

    @property
    def available_bytes(self) -> int:
        return (
            self.requested_bytes
            - self.weights_bytes
            - self.activation_bytes
            - self.non_torch_bytes
            - (self.graph_bytes if self.graphs_counted else 0)
            - (self.runner_state_bytes if self.runner_state_counted else 0)
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """All stages and the pool they share. ``limiting`` is the stage with the fewest blocks."""

    stages: tuple[StageBudget, ...]
    pool: Pool

    @property
    def limiting(self) -> StageBudget:
        sizes = zip(self.stages, self.pool.block_bytes, strict=True)
        return min(sizes, key=lambda pair: pair[0].available_bytes / (pair[1] or 1))[0]


def plan(architecture: Architecture, settings: Settings, storage: Storage) -> Budget:
    """Return what vLLM does with each GPU. Raises WorkshopError for a model without a cache."""
    stages = cut(architecture, settings.tensor_parallel, settings.pipeline_parallel)
    budgets = tuple(stage_budget(stage, settings, storage) for stage in stages)
    pool = make_pool(architecture, stages, [budget.available_bytes for budget in budgets], settings)
    return Budget(budgets, pool)


def stage_budget(stage: Stage, settings: Settings, storage: Storage) -> StageBudget:
    """Return the budget of one rank of a stage."""
    return StageBudget(
        stage=stage,
        requested_bytes=math.ceil(settings.gpu.usable_bytes * settings.utilization),
        weights=bytes_by_part(stage, storage),
        activations=peak_pieces(stage, settings),
        non_torch_bytes=non_torch_bytes(settings),
        graph_bytes=graph_bytes(stage),
        graphs_counted=settings.counts_graphs,
        runner_state_bytes=runner_state_bytes(stage, settings),
        runner_state_counted=settings.release.counts_runner_state,
    )


def non_torch_bytes(settings: Settings) -> int:
    """Return what the process takes beside torch's allocator during start-up: fitted, see ``vllm.toml``."""
    if settings.tensor_parallel > 1:
        later = number(settings.release.version) >= number(constants()["fitted"]["snapshot_after_nccl_since"])
        return fitted_bytes("non_torch_after_nccl_gib" if later else "non_torch_tensor_parallel_gib")
    return fitted_bytes("non_torch_stages_gib" if settings.pipeline_parallel > 1 else "non_torch_gib")


def graph_bytes(stage: Stage) -> int:
    """Return the CUDA graphs of one rank: fitted, see ``vllm.toml``."""
    return fitted_bytes("graph_base_gib") + len(stage.layers) * fitted_bytes("graph_layer_gib")


def fitted_bytes(name: str) -> int:
    """Return one fitted size of ``vllm.toml`` in bytes."""
    return int(constants()["fitted"][name] * GIB)
