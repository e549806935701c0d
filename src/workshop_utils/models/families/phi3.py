"""Phi-3 and Phi-4: Llama's shape with fused projections. Defaults: transformers ``Phi3Config``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import frame, read_attention


def read(config: Config) -> Architecture:
    """Return the architecture of a Phi-3 config."""
    config.require(*SHAPE)
    window = config.nullable_integer("sliding_window", None)
    layer = Layer(
        attention=replace(read_attention(config), window=window),
        mlp=DenseMlp(config.integer("intermediate_size")),
    )
    return frame(config, [layer] * config.layer_count(), tied=False)
