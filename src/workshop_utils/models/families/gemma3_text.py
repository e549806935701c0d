"""Gemma 3's text model: five sliding layers, then one full. Defaults: transformers ``Gemma3TextConfig``.

Published configs state few fields: Gemma 3 4B leaves out even the heads, 12B has 256 wide heads where
hidden size / heads would give 240.
"""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Layer
from workshop_utils.models.config import Config
from workshop_utils.models.decoder import SLIDING, every, frame, read_attention, read_layer_types


def read(config: Config) -> Architecture:
    """Return the architecture of a Gemma 3 text config."""
    config.require("hidden_size", "intermediate_size", "num_hidden_layers")
    window = config.nullable_integer("sliding_window", 4096)
    pattern = every(config.integer("sliding_window_pattern", 6), config.layer_count())
    full = replace(read_attention(config, heads=8, kv_heads=4, head_dim=256), qk_norm=True)
    mlp = DenseMlp(config.integer("intermediate_size"))
    layers = [
        Layer(attention=replace(full, window=window if kind == SLIDING else None), mlp=mlp, norms=4)
        for kind in read_layer_types(config, pattern)
    ]
    return frame(config, layers, tied=True, vocabulary=262_208, positions=131_072)
