"""Qwen3 mixture of experts. Defaults: transformers ``Qwen3MoeConfig`` (which has no head_dim of its own)."""

from dataclasses import replace

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import Architecture, DenseMlp, Experts, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import frame, read_attention


def read(config: Config) -> Architecture:
    """Return the architecture of a Qwen3-MoE config: experts in every ``decoder_sparse_step``-th layer."""
    config.require(*SHAPE, "moe_intermediate_size", "num_experts", "num_experts_per_tok")
    if config.fields.get("mlp_only_layers"):
        raise WorkshopError(
            f"{config.where} has mlp_only_layers, which no published Qwen3 uses and which is not counted; "
            "give a published config.json."
        )
    slides = config.flag("use_sliding_window", False)
    window = config.nullable_integer("sliding_window", 4096) if slides else None
    attention = replace(read_attention(config, kv_heads=4), window=window, qk_norm=True)
    dense = Layer(attention, mlp=DenseMlp(config.integer("intermediate_size")))
    sparse = Layer(
        attention,
        experts=Experts(
            routed=config.integer("num_experts"),
            active=config.integer("num_experts_per_tok"),
            width=config.integer("moe_intermediate_size"),
        ),
    )
    step = config.integer("decoder_sparse_step", 1)
    count = config.layer_count()
    return frame(config, [dense if (index + 1) % step else sparse for index in range(count)], tied=False)
