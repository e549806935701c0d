"""Qwen2 and Qwen2.5: Llama's shape with biases on Q, K and V. Defaults: transformers ``Qwen2Config``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import frame, read_attention, switched_windows


def read(config: Config) -> Architecture:
    """Return the architecture of a Qwen2 config; the biases are not the config's to switch."""
    config.require(*SHAPE)
    full = replace(read_attention(config, kv_heads=32), qkv_bias=True, output_bias=False)
    mlp = DenseMlp(config.integer("intermediate_size"))
    layers = [Layer(attention=replace(full, window=window), mlp=mlp) for window in switched_windows(config)]
    return frame(config, layers, tied=False, positions=32_768)
