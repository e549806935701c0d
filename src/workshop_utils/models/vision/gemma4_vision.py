"""Gemma 4's image tower. Shape and defaults: transformers ``Gemma4VisionModel``, ``Gemma4VisionConfig``."""

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import VisionTower
from workshop_utils.models.config import Config

COLOURS = 3


def read(config: Config) -> VisionTower:
    """Return the tower without a projector; WorkshopError for clipped layers, which hold more values."""
    config.require("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    if config.flag("use_clipped_linears", False):
        raise WorkshopError(
            f"{config.where} has use_clipped_linears, which is not counted yet; choose another Gemma, for "
            "example gemma-4-26b-a4b."
        )
    hidden, width = config.integer("hidden_size"), config.integer("intermediate_size")
    heads, head_dim = config.integer("num_attention_heads"), config.integer("head_dim", 64)
    kv_heads = config.integer("num_key_value_heads", 12)
    layers, patch = config.integer("num_hidden_layers"), config.integer("patch_size", 16)
    projections = (2 * heads + 2 * kv_heads) * head_dim * hidden
    biases = (heads + 2 * kv_heads) * head_dim + hidden if config.flag("attention_bias", False) else 0
    # Four norms of the hidden width around attention and MLP; q_norm and k_norm of the head width.
    layer = projections + biases + 3 * hidden * width + 4 * hidden + 2 * head_dim
    # A learned position for each axis, and one linear layer from a patch's colours.
    embedding = 2 * config.integer("position_embedding_size", 10_240) * hidden + COLOURS * patch**2 * hidden
    return VisionTower(
        model_type="gemma4_vision",
        layers=layers,
        hidden_size=hidden,
        patch_size=patch,
        parameters=embedding + layers * layer,
        matrices=layers * (projections + 3 * hidden * width),
    )
