"""From the GPU's total to the KV cache: what vLLM takes off first, rank by rank.

Source: ``determine_available_memory`` in vllm/v1/worker/gpu_worker.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from workshop_utils.memory.vllm.activations import peak_pieces
from workshop_utils.memory.vllm.blocks import Pool, make_pool
from workshop_utils.memory.vllm.graphs import counted_bytes, graph_bytes
from workshop_utils.memory.vllm.non_torch import charged_pieces
from workshop_utils.memory.vllm.piece import Piece, total
from workshop_utils.memory.vllm.sampler import runner_state_bytes
from workshop_utils.memory.vllm.settings import Settings
from workshop_utils.memory.vllm.stages import Stage, cut, engine_ranks
from workshop_utils.memory.vllm.weights import Storage, bytes_by_part
from workshop_utils.models.architecture import Architecture


@dataclass(frozen=True, slots=True)
class StageBudget:
    """What one rank of a stage holds, in bytes. ``available_bytes`` is what the log calls available.

    ``non_torch`` is taken off the budget. So are ``runner_state_bytes``, which the newer runner keeps, where
    they are counted, and ``graphs_counted_bytes``, what a profile finds of ``graph_bytes``. All else of both
    comes on top of the budget.
    """

    stage: Stage
    requested_bytes: int
    weights: Mapping[str, int]
    activations: tuple[Piece, ...]
    non_torch: tuple[Piece, ...]
    graph_bytes: int
    graphs_counted_bytes: int
    runner_state_bytes: int
    runner_state_counted: bool

    @property
    def weights_bytes(self) -> int:
        return sum(self.weights.values())

    @property
    def activation_bytes(self) -> int:
        return total(self.activations)

    @property
    def non_torch_bytes(self) -> int:
        return total(self.non_torch)

    @property
    def available_bytes(self) -> int:
        return (
            self.requested_bytes
            - self.weights_bytes
            - self.activation_bytes
            - self.non_torch_bytes
            - self.graphs_counted_bytes
            - (self.runner_state_bytes if self.runner_state_counted else 0)
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """The ranks of one engine that differ, and the pool they share. ``limiting`` has the fewest blocks.

    ``stages``: one for each stage, or several where tensor ranks hold unequal numbers of experts.
    ``ranks``: for every rank of the engine, stage by stage, the number of its like in ``stages``.
    """

    stages: tuple[StageBudget, ...]
    pool: Pool
    ranks: tuple[int, ...]

    @property
    def limiting(self) -> StageBudget:
        sizes = zip(self.stages, self.pool.block_bytes, strict=True)
        return min(sizes, key=lambda pair: pair[0].available_bytes / (pair[1] or 1))[0]


def plan(architecture: Architecture, settings: Settings, storage: Storage, engine: int = 0) -> Budget:
    """Return what vLLM does with each GPU of one engine: a replica, or of those that share experts one.

    Each engine sizes its own cache (``_initialize_kv_caches``, vllm/v1/engine/core.py). Raises WorkshopError
    for a model without a cache.
    """
    cuts = cut(architecture, settings.tensor_parallel, settings.pipeline_parallel)
    everyone = tuple(engine_ranks(cuts, settings.expert_parallel, settings.engines, engine))
    stages = tuple(dict.fromkeys(everyone))
    budgets = tuple(stage_budget(stage, settings, storage) for stage in stages)
    pool = make_pool(architecture, stages, [budget.available_bytes for budget in budgets], settings)
    number = {stage: place for place, stage in enumerate(stages)}
    return Budget(budgets, pool, tuple(number[stage] for stage in everyone))


def stage_budget(stage: Stage, settings: Settings, storage: Storage) -> StageBudget:
    """Return the budget of one rank of a stage."""
    return StageBudget(
        stage=stage,
        requested_bytes=math.ceil(settings.gpu.usable_bytes * settings.utilization),
        weights=bytes_by_part(stage, storage, settings.release.limits_splits),
        activations=peak_pieces(stage, settings),
        non_torch=charged_pieces(stage, settings),
        graph_bytes=graph_bytes(stage, settings),
        graphs_counted_bytes=counted_bytes(stage, settings) if settings.counts_graphs else 0,
        runner_state_bytes=runner_state_bytes(stage, settings),
        runner_state_counted=settings.release.counts_runner_state,
    )
