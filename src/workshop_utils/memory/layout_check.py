"""Whether a model can be cut into so many stages and tensor ranks, and in one sentence why not."""

from collections.abc import Iterator
from functools import lru_cache

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import (
    Architecture,
    Attention,
    GatedDeltaNet,
    LatentAttention,
    Layer,
    Mamba2,
)

# Megatron-LM and vLLM pad the vocabulary so that its rows divide by the usual numbers of ranks.
VOCABULARY_MULTIPLE = 64
MOST_RANKS = 64


def padded_vocabulary(architecture: Architecture) -> int:
    """Return the rows of embedding or head before they are cut."""
    return -(-architecture.vocabulary_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


@lru_cache(maxsize=4096, typed=True)
def check_layout(
    architecture: Architecture, tensor_parallel: int, pipeline_parallel: int, whole_experts: bool = False
) -> None:
    """Raise WorkshopError for a layout that the model cannot have, with the choices.

    ``whole_experts``: tensor ranks do not cut the routed experts, but share them out (expert parallel).
    """
    for name, size in (("tensor", tensor_parallel), ("pipeline", pipeline_parallel)):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise WorkshopError(
                f"{name} parallel size {size} is no whole number from 1 on; choose 1 for one GPU."
            )
    layers = len(architecture.layers)
    if pipeline_parallel > layers:
        raise WorkshopError(
            f"pipeline parallel size {pipeline_parallel} is more than the {layers} layers of "
            f"{architecture.name}; choose 1 to {layers}."
        )
    if reason := first_obstacle(architecture, tensor_parallel, whole_experts):
        sizes = ", ".join(str(size) for size in dividing_sizes(architecture, whole_experts))
        spread = not whole_experts and first_obstacle(architecture, tensor_parallel, True) is None
        raise WorkshopError(
            f"tensor parallel size {tensor_parallel} does not fit {reason} of {architecture.name}; choose "
            f"{sizes}{', or spread whole experts (--engine vllm --ep)' if spread else ''}."
        )


def dividing_sizes(architecture: Architecture, whole_experts: bool = False) -> list[int]:
    """Return the tensor parallel sizes that a model can have."""
    sizes = range(1, MOST_RANKS + 1)
    return [size for size in sizes if not first_obstacle(architecture, size, whole_experts)]


@lru_cache(maxsize=8192)
def first_obstacle(architecture: Architecture, ranks: int, whole_experts: bool = False) -> str | None:
    """Return what forbids a tensor parallel size, None where nothing does."""
    return next(obstacles(architecture, ranks, whole_experts), None)


def obstacles(architecture: Architecture, ranks: int, whole_experts: bool = False) -> Iterator[str]:
    """Yield what of the model does not divide by the number of tensor ranks."""
    if ranks == 1:
        return
    if padded_vocabulary(architecture) % ranks:
        yield f"the vocabulary of {padded_vocabulary(architecture):,} padded rows"
    for layer in {*architecture.layers, *architecture.encoder}:
        if layer.counted:
            yield "the layers, which were counted whole on a built model,"
            return
        for count, name in divided(layer, whole_experts):
            if count % ranks:
                yield f"the {count:,} {name}"
        mixer = layer.attention
        if isinstance(mixer, Attention) and mixer.kv_heads % ranks and ranks % mixer.kv_heads:
            yield f"the {mixer.kv_heads} KV heads"


def divided(layer: Layer, whole_experts: bool) -> Iterator[tuple[int, str]]:
    """Yield the numbers of a layer that every tensor rank takes an equal share of."""
    match layer.attention:
        case Attention(heads=heads) | LatentAttention(heads=heads):
            yield heads, "attention heads"
        case Mamba2(heads=heads):
            yield heads, "state space heads"
        case GatedDeltaNet(key_heads=keys, value_heads=values):
            yield keys, "key heads"
            yield values, "value heads"
    if layer.mlp:
        yield layer.mlp.width, "columns of the MLP"
    if layer.experts:
        if not whole_experts:
            yield layer.experts.width, "columns of each expert"
        if layer.experts.shared_width:
            yield layer.experts.shared_width, "columns of the shared expert"
