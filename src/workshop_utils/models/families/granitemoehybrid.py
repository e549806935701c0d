"""Granite 4 hybrid: Mamba-2 layers with a few of attention, experts in all.

Defaults: transformers ``GraniteMoeHybridConfig``.
The models without experts (H-Micro, H-1B) have only the MLP that is shared elsewhere.
"""

from workshop_utils.models.architecture import Architecture, DenseMlp, Experts, Layer, Mamba2
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import FULL, LINEAR, frame, read_attention, read_layer_types

ATTENTION = {FULL, "attention"}  # older configs say "mamba" and "attention"


def read(config: Config) -> Architecture:
    """Return the architecture of a Granite 4 hybrid config."""
    config.require(*SHAPE)
    full, mamba = read_attention(config), read_mamba(config)
    shared = config.integer("shared_intermediate_size", 1024)
    routed = config.integer("num_local_experts", 8, minimum=0)
    experts = Experts(
        routed=routed,
        active=config.integer("num_experts_per_tok", 2, minimum=0),
        width=config.integer("intermediate_size"),
        shared=1,
        shared_width=shared,
    )
    types = read_layer_types(config, [LINEAR] * config.layer_count(), (FULL, LINEAR, "attention", "mamba"))
    layers = [
        Layer(
            attention=full if kind in ATTENTION else mamba,
            mlp=None if routed else DenseMlp(shared),
            experts=experts if routed else None,
        )
        for kind in types
    ]
    return frame(config, layers, tied=False, positions=2048)


def read_mamba(config: Config) -> Mamba2:
    """Return the Mamba-2 layer; without a head width, the heads share the inner width."""
    heads = config.integer("mamba_n_heads", 128)
    inner = config.integer("mamba_expand", 2) * config.integer("hidden_size")
    stated = None if config.fields.get("mamba_d_head") == "auto" else config.fields.get("mamba_d_head")
    return Mamba2(
        heads=heads,
        head_dim=inner // heads or 1 if stated is None else config.integer("mamba_d_head"),
        state_size=config.integer("mamba_d_state", 256),
        groups=config.integer("mamba_n_groups", 1),
        conv_width=config.integer("mamba_d_conv", 4),
        conv_bias=config.flag("mamba_conv_bias", True),
        bias=config.flag("mamba_proj_bias", False),
    )
