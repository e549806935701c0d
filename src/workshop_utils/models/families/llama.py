"""Llama 1 to 3 and whatever uses its class (SmolLM2). Defaults: transformers ``LlamaConfig``."""

from workshop_utils.models.architecture import Architecture, DenseMlp, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import frame, read_attention


def read(config: Config) -> Architecture:
    """Return the architecture of a Llama config."""
    config.require(*SHAPE)
    layer = Layer(
        attention=read_attention(config),
        mlp=DenseMlp(config.integer("intermediate_size"), bias=config.flag("mlp_bias", False)),
    )
    return frame(config, [layer] * config.layer_count(), tied=False)
