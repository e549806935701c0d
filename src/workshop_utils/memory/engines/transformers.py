"""Plain transformers: ``generate()`` on one GPU, or cut over several.

Pipeline parallel is Accelerate's even layer split, one stage after the other; tensor parallel cuts heads and
widths; data parallel copies the model and shares the batch.
"""

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.assessment import Assessment
from workshop_utils.memory.phases import stage_estimate
from workshop_utils.memory.sharding import Shard, shards, without_copied_head
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture

ATTENTION = ("sdpa", "eager", "flash_attention_2")
CACHES = ("dynamic", "static")
OPTIONS = ("prefill_chunk", "padded")


def assess(architecture: Architecture, workload: Workload, gpu: Gpu | None) -> Assessment:
    """Return what every rank needs."""
    cut = stage_shards(architecture, workload)
    ranks = tuple(
        stage_estimate(replica * len(cut) + number, shard, workload, gpu)
        for replica in range(workload.data_parallel)
        for number, shard in enumerate(cut)
    )
    return Assessment(ranks, not_counted(architecture))


def stage_shards(architecture: Architecture, workload: Workload) -> tuple[Shard, ...]:
    """Return what each rank of a replica holds. A tied head stands with its embedding, on the first stage."""
    cut = shards(architecture, workload.tensor_parallel, workload.pipeline_parallel)
    return tuple(without_copied_head(shard) for shard in cut) if workload.tensor_parallel == 1 else cut


def not_counted(architecture: Architecture) -> tuple[str, ...]:
    """Return what is missing from the figures of this model."""
    missing = []
    kinds = {layer.attention.kind for layer in architecture.layers}
    states = sorted(kinds - {"full", "sliding", "latent"})
    if states:
        missing.append(f"what {' and '.join(states)} layers compute with (their state is counted)")
    if any(layer.counted for layer in architecture.layers):
        missing.append("the MLP's activations of a model that was counted on a built one")
    if architecture.encoder:
        missing.append("the encoder's activations")
    return tuple(missing)
