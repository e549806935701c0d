"""Whether the fields of a site file are as the schema wants them, and what is wrong in a reader's words."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workshop_utils.errors import WorkshopError

if TYPE_CHECKING:
    from fastjsonschema import JsonSchemaValueException

FOLDER = Path(__file__).with_name("sites")
# Entries of these lists are called by their own names.
NAMED = {"gpus": "GPU", "partitions": "partition"}


def check_schema(fields: Mapping[str, Any], where: str) -> None:
    """Raise WorkshopError with the first place where ``fields`` are not as the schema wants them."""
    import fastjsonschema

    schema = json.loads((FOLDER / "site.schema.json").read_text(encoding="utf-8"))
    try:
        fastjsonschema.compile(schema)(fields)
    except fastjsonschema.JsonSchemaValueException as error:
        place = place_of(error.path[1:], fields)
        raise WorkshopError(
            f"{where}: {place}{fault(error)} (`workshop site fields` explains every field)."
        ) from None


def place_of(path: Sequence[str | int], fields: Mapping[str, Any]) -> str:
    """Return such as ``GPU A40: nodes `` for gpus, 4, nodes; the number where the entry has no name."""
    if len(path) >= 2 and path[0] in NAMED:
        name = name_of(fields[path[0]], int(path[1]))
        if name:
            return f"{NAMED[path[0]]} {name}: {plain_place(path[2:])}"
    return plain_place(path)


def name_of(entries: Any, number: int) -> str | None:
    entry = entries[number]
    name = entry.get("name") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None


def plain_place(path: Sequence[str | int]) -> str:
    """Return such as ``links[0].url ``; nothing for the whole."""
    words = "".join(f"[{step}]" if str(step).isdigit() else f".{step}" for step in path)
    return f"{words.removeprefix('.')} " if words else ""


def fault(error: "JsonSchemaValueException") -> str:
    """Return what is wrong there: an unknown field first, which explains one that lacks."""
    known = error.definition.get("properties", {})
    if error.rule in ("required", "additionalProperties") and isinstance(error.value, dict):
        unknown = [name for name in error.value if name not in known]
        if unknown:
            close = get_close_matches(unknown[0], known, n=1)
            meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            return f"has {unknown[0]}, which is no field; {meant}"
        return f"lacks {', '.join(name for name in error.rule_definition if name not in error.value)}"
    # "data.gpus[2].nodes must be integer" → "must be integer"
    said = error.message.removeprefix(error.name).strip()
    return said if isinstance(error.value, dict | list) else f"{said}, not {error.value!r}"
