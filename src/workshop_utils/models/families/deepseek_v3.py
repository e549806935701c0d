"""DeepSeek-V3 and R1: latent attention, first layers dense, then experts. Defaults: ``DeepseekV3Config``.

The multi-token-prediction layer of the checkpoint is not counted: transformers does not build it.
"""

from workshop_utils.models.architecture import Architecture, DenseMlp, Experts, LatentAttention, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import frame


def read(config: Config) -> Architecture:
    """Return the architecture of a DeepSeek-V3 config."""
    return read_with(config, first_dense=3, shared=1)


def read_with(config: Config, *, first_dense: int, shared: int) -> Architecture:
    """Return the architecture; ``first_dense`` and ``shared`` are the config class's defaults."""
    config.require(*SHAPE, "moe_intermediate_size", "n_routed_experts", "num_experts_per_tok", "kv_lora_rank")
    attention = LatentAttention(
        heads=config.integer("num_attention_heads"),
        query_rank=config.nullable_integer("q_lora_rank", 1536),
        kv_rank=config.integer("kv_lora_rank"),
        rotary_dim=config.integer("qk_rope_head_dim", 64),
        plain_dim=config.integer("qk_nope_head_dim", 128),
        value_dim=config.integer("v_head_dim", 128),
        bias=config.flag("attention_bias", False),
    )
    dense = Layer(attention, mlp=DenseMlp(config.integer("intermediate_size")))
    sparse = Layer(
        attention,
        experts=Experts(
            routed=config.integer("n_routed_experts"),
            active=config.integer("num_experts_per_tok"),
            width=config.integer("moe_intermediate_size"),
            shared=config.integer("n_shared_experts", shared, minimum=0),
        ),
    )
    first = config.integer("first_k_dense_replace", first_dense, minimum=0)
    count = config.layer_count()
    return frame(config, [dense if index < first else sparse for index in range(count)], tied=False)
