"""Qwen3-Next: three gated delta nets, then one gated attention; experts. Defaults: ``Qwen3NextConfig``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Experts, GatedDeltaNet, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import FULL, LINEAR, every, frame, read_attention, read_layer_types


def read(config: Config) -> Architecture:
    """Return the architecture of a Qwen3-Next config."""
    config.require(*SHAPE)
    full = replace(read_attention(config, kv_heads=2, head_dim=256), qk_norm=True, output_gate=True)
    linear = GatedDeltaNet(
        key_heads=config.integer("linear_num_key_heads", 16),
        value_heads=config.integer("linear_num_value_heads", 32),
        key_dim=config.integer("linear_key_head_dim", 128),
        value_dim=config.integer("linear_value_head_dim", 128),
        conv_width=config.integer("linear_conv_kernel_dim", 4),
    )
    count = config.layer_count()
    default = every(config.integer("full_attention_interval", 4), count, LINEAR)
    dense, experts = DenseMlp(config.integer("intermediate_size")), read_experts(config)
    step = config.integer("decoder_sparse_step", 1)
    dense_only = config.indices("mlp_only_layers", ())
    sparse = {index for index in range(count) if (index + 1) % step == 0} - dense_only
    layers = [
        Layer(
            attention=full if kind == FULL else linear,
            mlp=None if index in sparse else dense,
            experts=experts if index in sparse else None,
        )
        for index, kind in enumerate(read_layer_types(config, default, (FULL, LINEAR)))
    ]
    return frame(config, layers, tied=False, positions=32_768)


def read_experts(config: Config) -> Experts:
    """Return the routed experts and the shared one, which has a gate of one value a channel."""
    return Experts(
        routed=config.integer("num_experts", 512),
        active=config.integer("num_experts_per_tok", 10),
        width=config.integer("moe_intermediate_size", 512),
        shared=1,
        shared_width=config.integer("shared_expert_intermediate_size", 512),
        router_extra=config.integer("hidden_size"),
    )
