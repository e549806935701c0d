"""Whether the fields of a site file are as the schema wants them, and what is wrong in a reader's words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workshop_utils.cluster.shell_words import slurm_word
from workshop_utils.errors import WorkshopError

if TYPE_CHECKING:
    from fastjsonschema import JsonSchemaValueException

FOLDER = Path(__file__).with_name("sites")
# Entries of these lists are called by their own names.
NAMED = {"gpus": "GPU", "partitions": "partition"}
# No centre has so many of anything, nor a node so many GPUs or slices of them.
MOST, MOST_PER_NODE = 10**6, 1000


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
    for path, number in numbers(fields):
        most = MOST_PER_NODE if path[-1] == "per_node" else MOST
        # Written so that nan, which TOML has beside inf, is refused as well.
        if not number <= most:
            raise WorkshopError(f"{where}: {place_of(path, fields)}must be at most {most:,}, not {number}.")
    check_names(fields, where)


def check_names(fields: Mapping[str, Any], where: str) -> None:
    """Raise WorkshopError for two of one name, and for a partition that Slurm could not call so."""
    for entries, kind in NAMED.items():
        # Readers write a40 for A40, but Slurm tells its own names apart.
        fold = str.casefold if entries == "gpus" else str
        names = [fold(each["name"]) for each in fields[entries]]
        for each in fields[entries]:
            if names.count(fold(each["name"])) > 1:
                raise WorkshopError(
                    f"{where}: two {kind}s are called {each['name']}; give each its own name."
                )
    for each in fields["partitions"]:
        try:
            slurm_word(each["name"])
        except WorkshopError as error:
            raise WorkshopError(f"{where}: partition {error}") from None


def numbers(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], float]]:
    """Yield the numbers in ``value``, each with the steps that lead to it."""
    if isinstance(value, int | float):
        yield path, value
    elif isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*path, step))


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
