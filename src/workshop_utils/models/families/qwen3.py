"""Qwen3 dense. Defaults: transformers ``Qwen3Config``; its window counts only with ``use_sliding_window``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import frame, read_attention, switched_windows


def read(config: Config) -> Architecture:
    """Return the architecture of a Qwen3 config: layers from ``max_window_layers`` on may slide."""
    config.require(*SHAPE)
    full = replace(read_attention(config, kv_heads=32, head_dim=128), qk_norm=True)
    mlp = DenseMlp(config.integer("intermediate_size"))
    layers = [Layer(attention=replace(full, window=window), mlp=mlp) for window in switched_windows(config)]
    return frame(config, layers, tied=False)
