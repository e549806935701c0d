"""Gemma 3 with its SigLIP tower (4B, 12B, 27B). Defaults: transformers ``Gemma3Config``."""

from dataclasses import replace

from workshop_utils.models.architecture import Architecture
from workshop_utils.models.config import Config
from workshop_utils.models.families import gemma3_text
from workshop_utils.models.vision import siglip


def read(config: Config) -> Architecture:
    """Return the architecture of a Gemma 3 config, image tower and projector included."""
    config.require("text_config", "vision_config")
    text = gemma3_text.read(config.section("text_config"))
    tower = siglip.read(config.section("vision_config"))
    # The projector norms the tower's output and maps it to the text width.
    projector = tower.hidden_size * text.hidden_size + tower.hidden_size
    return replace(
        text,
        model_type="gemma3",
        tied_embeddings=config.flag("tie_word_embeddings", True),
        dtype=config.dtype() or text.dtype,
        vision=tower._replace(parameters=tower.parameters + projector),
    )
