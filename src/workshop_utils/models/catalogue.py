"""The bundled catalogue: published configs of models that the workshop speaks about, each with its source."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.models.config import Config, read_json_object

FOLDER = Path(__file__).parent
CONFIGS = FOLDER / "configs"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
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
        return Config(
            read_json_object(CONFIGS / f"{self.name}.json"), self.name, f"the config of {self.name}"
        )


def load_catalogue() -> tuple[CatalogueEntry, ...]:
    """Return all entries in the order of the file; no config is read."""
    with (FOLDER / "catalogue.toml").open("rb") as file:
        models = tomllib.load(file)
    return tuple(
        CatalogueEntry(name, entry["hf_id"], entry["source"], tuple(entry.get("also", ())))
        for name, entry in models.items()
    )


def catalogue_names() -> tuple[str, ...]:
    """Return the short names, for example ``gemma-3-27b``."""
    return tuple(entry.name for entry in load_catalogue())
