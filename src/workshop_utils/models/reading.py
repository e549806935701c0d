"""From the fields of a config.json to an ``Architecture``: picks the family by ``model_type``.

A type without a family file is built on torch's meta device by transformers, where those are installed.
"""

import importlib
import pkgutil

from workshop_utils.models import families
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.config import Config


def supported_model_types() -> tuple[str, ...]:
    """Return the model types that can be read without transformers: the files of ``families/``."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(families.__path__)))


def read_architecture(config: Config) -> Architecture:
    """Return the architecture of a config; WorkshopError for an unknown type or fields that do not fit."""
    config.require("model_type")
    model_type = config.text("model_type")
    if model_type not in supported_model_types():
        from workshop_utils.models.built import read_with_transformers

        return read_with_transformers(config, supported_model_types())
    family = importlib.import_module(f"{families.__name__}.{model_type}")
    architecture: Architecture = family.read(config)
    return architecture
