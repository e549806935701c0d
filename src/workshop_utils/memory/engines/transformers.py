"""Plain transformers: ``generate()`` on one GPU, or cut over several.

Pipeline parallel is Accelerate's even layer split, one stage after the other; tensor parallel cuts heads and
widths; data parallel copies the model and shares the batch.
"""

from functools import lru_cache

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.assessment import Assessment
from workshop_utils.memory.phases import replica_estimates
from workshop_utils.memory.sharding import Shard, shards, without_copied_head
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture

ATTENTION = ("sdpa", "eager", "flash_attention_2")
CACHES = ("dynamic", "static")
OPTIONS = ("prefill_chunk", "padded")


def assess(architecture: Architecture, workload: Workload, gpu: Gpu | None) -> Assessment:
    """Return what every rank needs."""
    replica = replica_estimates(stage_shards(architecture, workload), workload, gpu)
    ranks = tuple(
        estimate.as_rank(number * len(replica) + estimate.rank)
        for number in range(workload.data_parallel)
        for estimate in replica
    )
    return Assessment(ranks, not_counted(architecture))


@lru_cache(maxsize=1024)
def cut_shards(architecture: Architecture, tensor_parallel: int, pipeline_parallel: int) -> tuple[Shard, ...]:
    """Return the shards of a layout, as transformers has them."""
    cut = shards(architecture, tensor_parallel, pipeline_parallel)
    return tuple(without_copied_head(shard) for shard in cut) if tensor_parallel == 1 else cut


def stage_shards(architecture: Architecture, workload: Workload) -> tuple[Shard, ...]:
    """Return what each rank of a replica holds. A tied head stands with its embedding, on the first stage."""
    return cut_shards(architecture, workload.tensor_parallel, workload.pipeline_parallel)


@lru_cache(maxsize=256)
def not_counted(architecture: Architecture) -> tuple[str, ...]:
    """Return what is missing from the figures of this model."""
    missing = []
    kinds = {layer.attention.kind for layer in architecture.layers}
    states = sorted(kinds - {"full", "sliding", "latent"})
    if states:
        missing.append(f"what {' and '.join(states)} layers compute with (their state is counted)")
    if architecture.encoder:
        missing.append("the encoder's activations")
    return tuple(missing)
