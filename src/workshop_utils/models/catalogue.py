"""The bundled catalogue: published configs of models that the workshop speaks about, each with its source."""

import functools
import json
import os
from typing import NamedTuple

from workshop_utils.models.config import Config

FOLDER = os.path.dirname(__file__)
CONFIGS = os.path.join(FOLDER, "configs")


class CatalogueEntry(NamedTuple):
    """One model: short name, Hugging Face id, where its config was published, other ids of the same shape."""

    name: str
    hf_id: str
    source: str
    also: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Every name that a reader may write for it."""
        return (self.name, self.hf_id, *self.also)

    def config(self) -> Config:
        """Return the bundled config.json."""
        found = bundled_config(self.name)
        assert found, f"{self.name} has no file in {CONFIGS}"
        return found


def bundled_config(name: str) -> Config | None:
    """Return the config of a short name, None for any other; the catalogue itself is not read for it."""
    if f"{name}.json" not in os.listdir(CONFIGS):
        return None
    with open(os.path.join(CONFIGS, f"{name}.json"), encoding="utf-8") as file:
        return Config(json.load(file), name, f"the config of {name}")


@functools.cache
def load_catalogue() -> tuple[CatalogueEntry, ...]:
    """Return all entries in the order of the file; no config is read."""
    import tomllib  # half of the time that a cold start takes to find a model

    with open(os.path.join(FOLDER, "catalogue.toml"), "rb") as file:
        models = tomllib.load(file)
    return tuple(
        CatalogueEntry(name, entry["hf_id"], entry["source"], tuple(entry.get("also", ())))
        for name, entry in models.items()
    )


def catalogue_names() -> tuple[str, ...]:
    """Return the short names, for example ``gemma-3-27b``."""
    return tuple(entry.name for entry in load_catalogue())
