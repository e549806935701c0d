"""gpt-oss: experts with biases, attention sinks, every other layer sliding. Defaults: ``GptOssConfig``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, Experts, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import SLIDING, every, frame, read_attention, read_layer_types


def read(config: Config) -> Architecture:
    """Return the architecture of a gpt-oss config."""
    config.require(*SHAPE, "num_local_experts", "num_experts_per_tok")
    routed = config.integer("num_local_experts")
    experts = Experts(
        routed=routed,
        active=config.integer("num_experts_per_tok"),
        width=config.integer("intermediate_size"),
        bias=True,
        router_extra=routed,
    )
    window = config.nullable_integer("sliding_window", 128)
    bias = config.flag("attention_bias", True)
    full = replace(
        read_attention(config, kv_heads=8, head_dim=64), qkv_bias=bias, output_bias=bias, sinks=True
    )
    layers = [
        Layer(attention=replace(full, window=window if kind == SLIDING else None), experts=experts)
        for kind in read_layer_types(config, every(2, config.layer_count()))
    ]
    return frame(config, layers, tied=False)
