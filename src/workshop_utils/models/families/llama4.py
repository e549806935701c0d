"""Llama 4 with its image tower (Scout, Maverick). Defaults: transformers ``Llama4Config``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture
from workshop_utils.models.config import Config
from workshop_utils.models.families import llama4_text
from workshop_utils.models.vision import llama4_vision


def read(config: Config) -> Architecture:
    """Return the architecture of a Llama 4 config, image tower and projector included."""
    config.require("text_config", "vision_config")
    text = llama4_text.read(config.section("text_config"))
    vision = config.section("vision_config")
    tower = llama4_vision.read(vision)
    projector = vision.integer("vision_output_dim", 7680) * text.hidden_size
    return replace(
        text,
        model_type="llama4",
        tied_embeddings=config.flag("tie_word_embeddings", False),
        dtype=config.dtype() or text.dtype,
        vision=tower._replace(parameters=tower.parameters + projector),
    )
