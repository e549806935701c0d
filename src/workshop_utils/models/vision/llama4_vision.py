"""Llama 4's image tower. Shape and defaults: transformers ``Llama4VisionModel``, ``Llama4VisionConfig``."""

from workshop_utils.models.architecture import VisionTower
from workshop_utils.models.config import Config


def read(config: Config) -> VisionTower:
    """Return the tower with its adapter, without the projector; all of a block has biases."""
    config.require("hidden_size", "intermediate_size", "num_hidden_layers", "image_size")
    hidden, width = config.integer("hidden_size"), config.integer("intermediate_size")
    layers, patch = config.integer("num_hidden_layers"), config.integer("patch_size", 14)
    matrices = 4 * hidden * hidden + 2 * hidden * width
    layer = matrices + 4 * hidden + (width + hidden) + 2 * 2 * hidden
    patches = (config.integer("image_size") // patch) ** 2 + 1  # and one for the class
    embedding = config.integer("num_channels", 3) * patch**2 * hidden + hidden + patches * hidden
    output = config.integer("projector_output_dim", 4096)
    adapter = width * config.integer("projector_input_dim", 4096) + output * output
    return VisionTower(
        model_type="llama4_vision_model",
        layers=layers,
        hidden_size=hidden,
        patch_size=patch,
        # A norm before the blocks and one after them.
        parameters=embedding + layers * layer + 2 * 2 * hidden + adapter,
        matrices=layers * matrices,
    )
