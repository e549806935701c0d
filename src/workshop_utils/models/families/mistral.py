"""Mistral 7B and Mistral Small. Defaults: transformers ``MistralConfig``; an absent window means 4096."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import frame, read_attention


def read(config: Config) -> Architecture:
    """Return the architecture of a Mistral config: one window, or none, for all layers."""
    config.require(*SHAPE)
    window = config.nullable_integer("sliding_window", 4096)
    layer = Layer(
        attention=replace(read_attention(config, kv_heads=8), window=window),
        mlp=DenseMlp(config.integer("intermediate_size")),
    )
    return frame(config, [layer] * config.layer_count(), tied=False)
