"""Gemma 2: sliding and full layers in turn, a norm before and after each part. Defaults: ``Gemma2Config``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import SLIDING, every, frame, read_attention, read_layer_types


def read(config: Config) -> Architecture:
    """Return the architecture of a Gemma 2 config."""
    config.require(*SHAPE)
    window = config.nullable_integer("sliding_window", 4096)
    full = read_attention(config, kv_heads=4, head_dim=256)
    mlp = DenseMlp(config.integer("intermediate_size"))
    layers = [
        Layer(attention=replace(full, window=window if kind == SLIDING else None), mlp=mlp, norms=4)
        for kind in read_layer_types(config, every(2, config.layer_count()))
    ]
    return frame(config, layers, tied=True, positions=8192)
