"""How vLLM cuts a model: whole layers to stages, heads and widths to the tensor ranks of a stage."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from workshop_utils.memory.vllm.experts import Spread, spread_of
from workshop_utils.models.architecture import Architecture, Attention, LatentAttention, Layer

# The rows of embedding and head are padded to a multiple of this (vocab_parallel_embedding.py).
VOCABULARY_PADDING = 64


@dataclass(frozen=True, slots=True)
class Stage:
    """What a tensor rank of one pipeline stage holds. ``first_layer`` is its first layer's number.

    ``rows`` are those of the whole padded vocabulary; ``ranks`` is the tensor parallel size. ``spread`` says
    which experts it holds whole, None where every rank has a share of each.
    """

    number: int
    stages: int
    ranks: int
    architecture: Architecture
    first_layer: int
    # What stands before tells stages apart, and layers take long to hash.
    layers: tuple[Layer, ...] = field(hash=False)
    spread: Spread | None = None

    @property
    def engines(self) -> int:
        """Data parallel engines whose tokens pass this rank's experts."""
        return self.spread.engines if self.spread else 1

    @property
    def shared_expert_ranks(self) -> int:
        """Over how many tensor ranks shared experts are cut; see ``expert_tensors``."""
        return 1 if self.engines > 1 else self.ranks

    @property
    def first(self) -> bool:
        return self.number == 0

    @property
    def last(self) -> bool:
        return self.number == self.stages - 1

    @property
    def rows(self) -> int:
        return padded(self.architecture.vocabulary_size, VOCABULARY_PADDING)


def padded(count: int, multiple: int) -> int:
    """Return ``count`` rounded up to a multiple."""
    return -(-count // multiple) * multiple


def cut(architecture: Architecture, tensor_parallel: int, pipeline_parallel: int) -> tuple[Stage, ...]:
    """Return the stages: as many layers each, what remains to the stages before the last.

    Source: ``get_pp_indices``, vllm/distributed/utils.py: the stages from the last but one backwards take
    one more each.
    """
    each, more = divmod(len(architecture.layers), pipeline_parallel)
    counts = [each] * pipeline_parallel
    for back in range(2, more + 2):
        counts[-back] += 1
    starts = [sum(counts[:stage]) for stage in range(pipeline_parallel)]
    return tuple(
        Stage(
            number=stage,
            stages=pipeline_parallel,
            ranks=tensor_parallel,
            architecture=architecture,
            first_layer=start,
            layers=architecture.layers[start : start + count],
        )
        for stage, (start, count) in enumerate(zip(starts, counts, strict=True))
    )


def engine_ranks(
    stages: tuple[Stage, ...], expert_parallel: bool, engines: int, engine: int
) -> Iterator[Stage]:
    """Yield what each rank of an engine holds, stage by stage; only spread experts tell ranks apart."""
    for stage in stages:
        for rank in range(stage.ranks):
            if expert_parallel:
                number = engine * stage.ranks + rank
                yield replace(stage, spread=spread_of(stage.architecture, stage.ranks, engines, number))
            else:
                yield stage


def rank_kv_heads(attention: Attention, ranks: int) -> int:
    """Return the KV heads of one tensor rank: its share, or a copy of one where there are more ranks."""
    return max(1, attention.kv_heads // ranks)


def rank_cached_values(attention: Attention | LatentAttention, ranks: int) -> int:
    """Return the values that one token adds to one tensor rank's cache; a latent is copied to every rank."""
    if isinstance(attention, LatentAttention):
        return attention.cached_values
    return attention.cached_values // attention.kv_heads * rank_kv_heads(attention, ranks)


def attention_width(layer: Layer, hidden: int, ranks: int) -> int:
    """Return the values that a layer's mixer hands on for one token, on one tensor rank."""
    mixer = layer.attention
    if isinstance(mixer, Attention):
        return mixer.heads * (mixer.value_dim or mixer.head_dim) // ranks
    if isinstance(mixer, LatentAttention):
        return mixer.heads * mixer.value_dim // ranks
    return hidden
