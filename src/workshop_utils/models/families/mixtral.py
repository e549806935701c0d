"""Mixtral 8x7B and 8x22B. Defaults: transformers ``MixtralConfig``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, Experts, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import frame, read_attention


def read(config: Config) -> Architecture:
    """Return the architecture of a Mixtral config: experts in every layer."""
    config.require(*SHAPE, "num_local_experts", "num_experts_per_tok")
    window = config.nullable_integer("sliding_window", None)
    layer = Layer(
        attention=replace(read_attention(config, kv_heads=8), window=window),
        experts=Experts(
            routed=config.integer("num_local_experts"),
            active=config.integer("num_experts_per_tok"),
            width=config.integer("intermediate_size"),
        ),
    )
    return frame(config, [layer] * config.layer_count(), tied=False)
