"""What each rank holds when a model is cut: whole layers by pipeline stage, heads and widths by tensor rank.

Replicated on every tensor rank: norms, router, biases of outputs, latents, the image tower, tables of
positions, and KV heads where there are more ranks than heads. The rows of embedding and head are padded.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

from workshop_utils.memory.layout_check import check_layout, padded_vocabulary
from workshop_utils.models.architecture import (
    Architecture,
    Attention,
    ConstantState,
    Experts,
    GatedDeltaNet,
    LatentAttention,
    Layer,
    Mamba2,
    Mixer,
    Piece,
    VisionTower,
)

# What of a built model's parameters outside the layers stands on the last stage.
AT_THE_END = frozenset({"norms", "head"})


@dataclass(frozen=True, slots=True)
class Shard:
    """What one rank of one replica holds; one GPU is shard 0 of 1.

    ``rank`` counts through the tensor ranks of the first stage, then those of the next. ``layers`` carry this
    rank's heads, KV heads and widths; ``first_layer`` is the number of the first of them in the model.
    ``embedding_rows`` and ``head_rows`` are 0 where a stage has none; a tied head has none either where it
    stands with its embedding, and is a copy where it does not. ``outside`` are parameters that were counted
    on a built model, in place of embedding, head, norms and image tower.
    """

    rank: int
    architecture: Architecture = field(hash=False)
    tensor_parallel: int
    pipeline_parallel: int
    first_layer: int
    layers: tuple[Layer, ...] = field(hash=False)
    encoder: tuple[Layer, ...] = field(hash=False)
    embedding_rows: int
    head_rows: int
    position_values: int
    vision: VisionTower | None = field(hash=False)
    final_norm: bool
    outside: tuple[Piece, ...] = field(hash=False)

    @property
    def hidden_size(self) -> int:
        return self.architecture.hidden_size

    @property
    def stage(self) -> int:
        """Number of the pipeline stage, from 0."""
        return self.rank // self.tensor_parallel


@lru_cache(maxsize=256, typed=True)
def shards(
    architecture: Architecture, tensor_parallel: int = 1, pipeline_parallel: int = 1
) -> tuple[Shard, ...]:
    """Return one shard for each rank, stage by stage; WorkshopError for a layout that cannot be."""
    check_layout(architecture, tensor_parallel, pipeline_parallel)
    return shards_of(architecture, tensor_parallel, stage_layers(len(architecture.layers), pipeline_parallel))


@lru_cache(maxsize=256)
def shards_of(architecture: Architecture, tensor_parallel: int, counts: tuple[int, ...]) -> tuple[Shard, ...]:
    """Return the shards where each stage has as many layers as ``counts`` says."""
    pipeline_parallel = len(counts)
    local = {
        layer: cut_layer(layer, tensor_parallel) for layer in {*architecture.layers, *architecture.encoder}
    }
    rows = vocabulary_rows(architecture, tensor_parallel)
    found = []
    for stage, count in enumerate(counts):
        start, first, last = sum(counts[:stage]), stage == 0, stage == pipeline_parallel - 1
        tied_here = architecture.tied_embeddings and first
        built = bool(architecture.counted)
        shard = Shard(
            rank=0,
            architecture=architecture,
            tensor_parallel=tensor_parallel,
            pipeline_parallel=pipeline_parallel,
            first_layer=start,
            layers=tuple(local[layer] for layer in architecture.layers[start : start + count]),
            encoder=tuple(local[layer] for layer in architecture.encoder) if first else (),
            embedding_rows=rows if first and not built else 0,
            head_rows=rows if last and not tied_here and (architecture.tied_embeddings or not built) else 0,
            position_values=architecture.position_values if first else 0,
            vision=architecture.vision if first and not built else None,
            final_norm=last and not built,
            outside=tuple(p for p in architecture.counted if (last if p.part in AT_THE_END else first)),
        )
        found += [replace(shard, rank=stage * tensor_parallel + rank) for rank in range(tensor_parallel)]
    return tuple(found)


def whole_model(architecture: Architecture) -> Shard:
    """Return the one shard of a model that is not cut."""
    return shards(architecture)[0]


def without_copied_head(shard: Shard) -> Shard:
    """Return the shard without a copy of a tied head, as where a framework keeps it with the embedding."""
    return replace(shard, head_rows=0) if shard.architecture.tied_embeddings else shard


def stage_layers(layers: int, stages: int) -> tuple[int, ...]:
    """Return the layers of each stage: as many each, what remains to the stages before the last.

    Source: ``get_pp_indices``, vllm/distributed/utils.py, which spares the last stage, as it has the head.
    """
    each, more = divmod(layers, stages)
    return tuple(each + (1 if stages - 1 - more <= stage < stages - 1 else 0) for stage in range(stages))


def vocabulary_rows(architecture: Architecture, ranks: int) -> int:
    """Return the rows of embedding or head on one rank: all on one, a share of the padded ones on several."""
    if ranks == 1:
        return architecture.vocabulary_size
    return padded_vocabulary(architecture) // ranks


def cut_layer(layer: Layer, ranks: int) -> Layer:
    """Return one tensor rank's share of a layer."""
    if ranks == 1:
        return layer
    return replace(
        layer,
        attention=cut_mixer(layer.attention, ranks),
        mlp=layer.mlp._replace(width=layer.mlp.width // ranks) if layer.mlp else None,
        experts=cut_experts(layer.experts, ranks) if layer.experts else None,
        cross_attention=cut_attention(layer.cross_attention, ranks) if layer.cross_attention else None,
    )


def cut_mixer(mixer: Mixer, ranks: int) -> Mixer:
    """Return one rank's heads of what mixes tokens."""
    match mixer:
        case Attention():
            return cut_attention(mixer, ranks)
        case LatentAttention():
            return mixer._replace(heads=mixer.heads // ranks)
        case Mamba2():
            return mixer._replace(heads=mixer.heads // ranks, groups=max(1, mixer.groups // ranks))
        case GatedDeltaNet():
            return mixer._replace(key_heads=mixer.key_heads // ranks, value_heads=mixer.value_heads // ranks)
        case ConstantState():
            return mixer


def cut_attention(attention: Attention, ranks: int) -> Attention:
    """Return one rank's heads; a KV head is copied where there are more ranks than KV heads."""
    return replace(attention, heads=attention.heads // ranks, kv_heads=max(1, attention.kv_heads // ranks))


def cut_experts(experts: Experts, ranks: int) -> Experts:
    """Return every expert with one rank's share of its width."""
    shared = experts.shared_width // ranks if experts.shared_width else None
    return experts._replace(width=experts.width // ranks, shared_width=shared)
