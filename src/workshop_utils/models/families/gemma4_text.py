"""Gemma 4's text model. Defaults: transformers ``Gemma4TextConfig``.

Full layers have their own head width and KV heads; with ``attention_k_eq_v`` they have no V projection.
A layer of a mixture-of-experts model runs a dense MLP and experts side by side.
"""

from dataclasses import replace

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import Architecture, Attention, DenseMlp, Experts, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import FULL, SLIDING, every, frame, read_attention, read_layer_types


def read(config: Config) -> Architecture:
    """Return the architecture of a Gemma 4 text config; WorkshopError for E2B and E4B."""
    config.require(*SHAPE)
    for name, default in (("hidden_size_per_layer_input", 256), ("num_kv_shared_layers", 0)):
        if config.integer(name, default, minimum=0):
            raise WorkshopError(
                f"{config.where} has {config.prefix}{name} = {config.integer(name, default)} (as in E2B and "
                "E4B), which is not counted yet; choose another Gemma, for example gemma-4-26b-a4b."
            )
    default_types = every(6, config.layer_count())
    # The config class forces the last layer to attend to everything.
    types = (*read_layer_types(config, default_types)[:-1], FULL)
    mlp = DenseMlp(config.integer("intermediate_size"))
    experts = read_experts(config)
    layers = [
        # Each layer norms before and after attention and MLP; experts bring three norms of their own.
        Layer(
            attention=read_layer_attention(config, kind), mlp=mlp, experts=experts, norms=7 if experts else 4
        )
        for kind in types
    ]
    return frame(config, layers, tied=True, positions=131_072)


def read_layer_attention(config: Config, kind: str) -> Attention:
    """Return the attention of a sliding or a full layer."""
    usual = replace(read_attention(config, kv_heads=4, head_dim=256), qk_norm=True)
    if kind == SLIDING:
        return replace(usual, window=config.integer("sliding_window", 512))
    shares = config.flag("attention_k_eq_v", False)
    return replace(
        usual,
        kv_heads=config.integer("num_global_key_value_heads", usual.kv_heads) if shares else usual.kv_heads,
        head_dim=config.integer("global_head_dim", 512),
        keys_are_values=shares,
    )


def read_experts(config: Config) -> Experts | None:
    """Return the experts of a mixture-of-experts config, None for a dense one."""
    if not config.flag("enable_moe_block", False):
        return None
    config.require("num_experts", "top_k_experts", "moe_intermediate_size")
    routed = config.integer("num_experts")
    return Experts(
        routed=routed,
        active=config.integer("top_k_experts"),
        width=config.integer("moe_intermediate_size"),
        # A scale for each input channel and one for each expert.
        router_extra=config.integer("hidden_size") + routed,
    )
