"""What the decoder families share: reading attention, layer kinds and the frame around the layers."""

from collections.abc import Sequence

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import Architecture, Attention, Layer
from workshop_utils.models.config import Config

FULL, SLIDING = "full_attention", "sliding_attention"
CHUNKED, LINEAR = "chunked_attention", "linear_attention"


def read_attention(
    config: Config,
    *,
    heads: int | None = None,
    kv_heads: int | None = None,
    head_dim: int | None = None,
) -> Attention:
    """Return grouped-query attention from the usual fields.

    ``heads``, ``kv_heads`` and ``head_dim`` are the config class's defaults for absent fields; without them,
    transformers takes as many KV heads as heads, and hidden size / heads.
    """
    heads = config.integer("num_attention_heads", heads)
    bias = config.flag("attention_bias", False)
    return Attention(
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", kv_heads or heads),
        head_dim=config.integer("head_dim", head_dim or derived_head_dim(config, heads)),
        qkv_bias=bias,
        output_bias=bias,
    )


def derived_head_dim(config: Config, heads: int) -> int:
    """Return hidden size / heads; WorkshopError where that is no whole number and no head_dim is stated."""
    hidden = config.integer("hidden_size")
    if hidden % heads and config.fields.get("head_dim") is None:
        raise WorkshopError(
            f"{config.where} has hidden_size {hidden}, no multiple of num_attention_heads {heads}, and no "
            "head_dim; correct config.json."
        )
    return hidden // heads or 1


def read_layer_types(
    config: Config, default: Sequence[str], known: Sequence[str] = (FULL, SLIDING)
) -> tuple[str, ...]:
    """Return ``layer_types``, one of ``known`` for each layer."""
    types = config.words("layer_types") or tuple(default)
    count = config.layer_count()
    unknown = sorted(set(types) - set(known))
    if unknown:
        raise WorkshopError(
            f"{config.where} has layer_types with {', '.join(unknown)}; supported are {' and '.join(known)}."
        )
    if len(types) != count:
        raise WorkshopError(
            f"{config.where} has {len(types)} layer_types for num_hidden_layers {count}; "
            "copy the model's config.json again."
        )
    return types


def switched_windows(config: Config) -> tuple[int | None, ...]:
    """Return the window of each layer of a Qwen config, None where it sees all.

    The window counts only with ``use_sliding_window``, and then from layer ``max_window_layers`` on.
    """
    slides = config.flag("use_sliding_window", False)
    window = config.nullable_integer("sliding_window", 4096) if slides else None
    first = config.integer("max_window_layers", 28, minimum=0) if window else None
    default = [FULL if first is None or index < first else SLIDING for index in range(config.layer_count())]
    return tuple(window if kind == SLIDING else None for kind in read_layer_types(config, default))


def every(period: int, count: int, other: str = SLIDING) -> tuple[str, ...]:
    """Return ``count`` layer types of which each ``period``-th is full and the others are ``other``."""
    return tuple(other if (index + 1) % period else FULL for index in range(count))


def frame(
    config: Config,
    layers: Sequence[Layer],
    *,
    tied: bool,
    vocabulary: int | None = None,
    positions: int | None = None,
) -> Architecture:
    """Return the text model around ``layers``; the keyword arguments are the config class's defaults."""
    return Architecture(
        name=config.name,
        model_type=config.text("model_type") or "",
        hidden_size=config.integer("hidden_size"),
        vocabulary_size=config.integer("vocab_size", vocabulary),
        layers=tuple(layers),
        tied_embeddings=config.flag("tie_word_embeddings", tied),
        max_positions=config.nullable_integer("max_position_embeddings", positions),
        dtype=config.dtype(),
        stored_as=config.stored_as(),
    )
