"""Granite 3 dense: Llama's shape with scaled activations. Defaults: transformers ``GraniteConfig``."""

from workshop_utils.models.architecture import Architecture
from workshop_utils.models.config import Config
from workshop_utils.models.families import llama


def read(config: Config) -> Architecture:
    """Return the architecture of a Granite config; its multipliers hold no weights."""
    return llama.read(config)
