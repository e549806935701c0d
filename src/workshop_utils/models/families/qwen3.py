"""Qwen3 dense. Defaults: transformers ``Qwen3Config``; its window counts only with ``use_sliding_window``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import FULL, SLIDING, frame, read_attention, read_layer_types


def read(config: Config) -> Architecture:
    """Return the architecture of a Qwen3 config: layers from ``max_window_layers`` on may slide."""
    config.require(*SHAPE)
    slides = config.flag("use_sliding_window", False)
    window = config.nullable_integer("sliding_window", 4096) if slides else None
    first = config.integer("max_window_layers", 28, minimum=0) if window else None
    count = config.layer_count()
    default = [FULL if first is None or index < first else SLIDING for index in range(count)]
    full = replace(read_attention(config, kv_heads=32, head_dim=128), qk_norm=True)
    mlp = DenseMlp(config.integer("intermediate_size"))
    layers = [
        Layer(attention=replace(full, window=window if kind == SLIDING else None), mlp=mlp)
        for kind in read_layer_types(config, default)
    ]
    return frame(config, layers, tied=False)
