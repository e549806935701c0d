"""Gemma 4 with its image tower. Defaults: transformers ``Gemma4Config``."""

from dataclasses import replace

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.config import Config
from workshop_utils.models.families import gemma4_text
from workshop_utils.models.vision import gemma4_vision


def read(config: Config) -> Architecture:
    """Return the architecture of a Gemma 4 config; WorkshopError where it has an audio tower."""
    config.require("text_config")
    if config.fields.get("audio_config"):
        raise WorkshopError(
            f"{config.where} has an audio tower, which is not counted yet; choose another Gemma, for example "
            "gemma-4-26b-a4b."
        )
    text = replace(
        gemma4_text.read(config.section("text_config")),
        model_type="gemma4",
        tied_embeddings=config.flag("tie_word_embeddings", True),
    )
    text = replace(text, dtype=config.dtype() or text.dtype)
    if not config.fields.get("vision_config"):
        return text
    tower = gemma4_vision.read(config.section("vision_config"))
    # One projection of the tower's output to the text width.
    projector = tower.hidden_size * text.hidden_size
    return replace(text, vision=tower._replace(parameters=tower.parameters + projector))
