"""A config.json, read field by field, without torch or transformers.

A family names the fields that every published config states (``require``) and gives the default of its
transformers config class for those that published configs leave out: Gemma 3 states neither ``head_dim``
nor ``layer_types``, and a reader who takes hidden size / heads instead is wrong by up to a factor of 20.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop_utils.errors import WorkshopError

if TYPE_CHECKING:
    from pathlib import Path

# What every published decoder config states; a transformers default for these would be another model's shape.
SHAPE = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
# A hundred times the deepest published decoder.
LARGEST = 10**12  # beyond every width or length, and small enough to be multiplied and printed
MOST_LAYERS = 10_000
# A config.json has a few kB; this keeps a mistyped weight file out of memory.
MOST_BYTES = 10**7


@dataclass(frozen=True, slots=True)
class Config:
    """The fields of one config.json; ``name`` is the model's, ``where`` says in messages which file it is."""

    fields: Mapping[str, object]
    name: str
    where: str
    prefix: str = ""

    def require(self, *names: str) -> None:
        """Raise WorkshopError that names every one of ``names`` that the file lacks."""
        missing = [self.prefix + name for name in names if self.fields.get(name) is None]
        if missing:
            raise WorkshopError(
                f"{self.where} lacks {', '.join(missing)}; use the config.json published with the model."
            )

    def integer(self, name: str, default: int | None = None, minimum: int = 1) -> int:
        """Return a whole number of at least ``minimum``; null counts as absent."""
        value = self.fields.get(name)
        if value is None:
            value = default
        if value is None:
            self.require(name)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= LARGEST:
            raise self._wrong(name, value, f"a whole number from {minimum} to {LARGEST:,}")
        return value

    def nullable_integer(self, name: str, default: int | None) -> int | None:
        """Return a whole number, ``default`` where the field is absent, None where the file says null."""
        if name not in self.fields:
            return default
        return None if self.fields[name] is None else self.integer(name)

    def layer_count(self, name: str = "num_hidden_layers", default: int | None = None) -> int:
        """Return the number of layers; WorkshopError for more than anybody builds."""
        count = self.integer(name, default)
        if count > MOST_LAYERS:
            raise WorkshopError(
                f"{self.where} has {name} {count}, more than {MOST_LAYERS:,}; correct config.json."
            )
        return count

    def indices(self, name: str, default: Iterable[int]) -> frozenset[int]:
        """Return a list of layer numbers, counted from 0; null counts as absent."""
        value = self.fields.get(name)
        if value is None:
            return frozenset(default)
        if not isinstance(value, list) or not all(type(index) is int and index >= 0 for index in value):
            raise self._wrong(name, value, "a list of layer numbers")
        return frozenset(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.fields.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def text(self, name: str) -> str | None:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, value, "a text")
        return value

    def dtype(self) -> str | None:
        """Return the precision of the published weights; older configs call it torch_dtype."""
        return self.text("dtype") or self.text("torch_dtype")

    def stored_as(self) -> str | None:
        """Return the precision that ``quantization_config`` names, as the memory engine calls it; else None.

        A method that the engine does not know keeps transformers' name for it.
        """
        if not self.fields.get("quantization_config"):
            return None
        found = self.section("quantization_config")
        method = found.text("quant_method")
        if method in ("awq", "gptq"):
            bits, group = found.integer("bits", 4), found.integer("group_size", 128, minimum=-1)
            return f"{method}-int{bits}-g{group}" if group > 0 else method
        if method == "bitsandbytes":
            if found.flag("load_in_8bit", False):
                return "int8"
            four = found.text("bnb_4bit_quant_type") or "fp4"
            return four + "-dq" * (four == "nf4" and found.flag("bnb_4bit_use_double_quant", False))
        return method

    def words(self, name: str) -> tuple[str, ...] | None:
        value = self.fields.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self._wrong(name, value, "a list of texts")
        return tuple(value)

    def section(self, name: str) -> "Config":
        """Return a nested configuration such as ``text_config``."""
        self.require(name)
        value = self.fields[name]
        if not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        return Config(value, self.name, self.where, f"{self.prefix}{name}.")

    def _wrong(self, name: str, value: object, wanted: str) -> WorkshopError:
        shown = json.dumps(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return WorkshopError(
            f"{self.where} has {self.prefix}{name} = {shown}, and it must be {wanted}; correct config.json."
        )


def read_json_object(file: "Path") -> dict[str, object]:
    """Return the object in a JSON file; WorkshopError if it cannot be read or is not one."""
    try:
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            size = f" ({file.stat().st_size:,} bytes)" if file.is_file() else ""
            raise WorkshopError(
                f"{file} is no config.json{size}; name a config.json or the folder that holds one."
            )
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkshopError(
            f"{file} cannot be read ({error.strerror}); name a readable config.json."
        ) from error
    except RecursionError as error:
        raise WorkshopError(
            f"{file} is nested too deep for a config.json; copy the model's config.json again."
        ) from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise WorkshopError(f"{file} is not JSON ({reason}); copy the model's config.json again.") from error
    if not isinstance(value, dict):
        raise WorkshopError(f"{file} is JSON but not an object; copy the model's config.json again.")
    return value
