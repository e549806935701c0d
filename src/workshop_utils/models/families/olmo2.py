"""OLMo 2: norms after attention and MLP, and one over all heads of Q and of K. Defaults: ``Olmo2Config``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture, DenseMlp, Layer
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.decoder import frame, read_attention


def read(config: Config) -> Architecture:
    """Return the architecture of an OLMo 2 config."""
    config.require(*SHAPE)
    layer = Layer(
        attention=replace(read_attention(config), qk_norm=True, qk_norm_over_heads=True),
        mlp=DenseMlp(config.integer("intermediate_size")),
    )
    return frame(config, [layer] * config.layer_count(), tied=False)
