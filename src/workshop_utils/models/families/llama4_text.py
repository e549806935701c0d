"""Llama 4's text model: three layers attend within chunks, the fourth to all. Defaults: ``Llama4TextConfig``.

Scout has experts in every layer, Maverick in every second; one shared expert stands beside the routed ones.
"""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Experts, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import CHUNKED, FULL, every, frame, read_attention, read_layer_types


def read(config: Config) -> Architecture:
    """Return the architecture of a Llama 4 text config; its norm of Q and K holds no weights."""
    config.require(*SHAPE)
    full = read_attention(config, kv_heads=8, head_dim=128)
    chunk = config.nullable_integer("attention_chunk_size", 8192)
    dense = DenseMlp(config.integer("intermediate_size_mlp", 16_384))
    experts = Experts(
        routed=config.integer("num_local_experts", 16),
        active=config.integer("num_experts_per_tok", 1),
        width=config.integer("intermediate_size"),
        shared=1,
    )
    count = config.layer_count()
    period = config.integer("no_rope_layer_interval", 4)
    step = config.integer("interleave_moe_layer_step", 1)
    sparse = config.indices("moe_layers", range(step - 1, count, step))
    layers = [
        Layer(
            attention=replace(full, window=chunk if kind == CHUNKED else None),
            mlp=None if index in sparse else dense,
            experts=experts if index in sparse else None,
        )
        for index, kind in enumerate(read_layer_types(config, every(period, count, CHUNKED), (FULL, CHUNKED)))
    ]
    return frame(config, layers, tied=False, positions=131_072)
