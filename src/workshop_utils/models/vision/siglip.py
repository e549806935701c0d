"""SigLIP image tower (Gemma 3). Shape and defaults: transformers ``SiglipVisionModel`` and its config."""

from workshop_utils.models.architecture import VisionTower
from workshop_utils.models.config import Config


def read(config: Config) -> VisionTower:
    """Return the tower without a projector. Every linear layer and norm of SigLIP has a bias."""
    config.require("hidden_size", "intermediate_size", "num_hidden_layers", "image_size", "patch_size")
    hidden, width = config.integer("hidden_size"), config.integer("intermediate_size")
    layers, patch = config.integer("num_hidden_layers"), config.integer("patch_size")
    norm = 2 * hidden
    attention = 4 * (hidden * hidden + hidden)
    mlp = (hidden * width + width) + (width * hidden + hidden)
    patches = (config.integer("image_size") // patch) ** 2
    embedding = config.integer("num_channels", 3) * patch**2 * hidden + hidden + patches * hidden
    # The pooling head: one learned query, attention, norm and MLP. Gemma 3 switches it off.
    head = hidden + attention + norm + mlp if config.flag("vision_use_head", True) else 0
    return VisionTower(
        model_type="siglip_vision_model",
        layers=layers,
        hidden_size=hidden,
        patch_size=patch,
        parameters=embedding + layers * (2 * norm + attention + mlp) + norm + head,
        matrices=layers * (4 * hidden * hidden + 2 * hidden * width),
    )
