"""Is all of a checkpoint in safetensors there, whole or in shards, before any of it is loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.errors import WorkshopError

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
AGAIN = "download or save the checkpoint again"


@dataclass(frozen=True)
class Checkpoint:
    """``files`` in order; ``homes``: in which of them each tensor lies."""

    folder: Path
    files: tuple[Path, ...]
    homes: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in ``folder``, every file opened and held against the index.

    Only headers are read. Raises WorkshopError naming the shard that is missing, half-written or lacks a
    tensor that the index promises.
    """
    index = folder / INDEX
    if not index.is_file():
        if not (folder / SINGLE).is_file():
            raise WorkshopError(
                f"{folder} holds neither {INDEX} nor {SINGLE}; name a folder that a model was saved in."
            )
        return Checkpoint(folder, (folder / SINGLE,), dict.fromkeys(tensors_of(folder / SINGLE), SINGLE))
    homes = read_index(index)
    names = sorted(set(homes.values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        others = f", nor {len(missing) - 1} more" if len(missing) > 1 else ""
        raise WorkshopError(
            f"{INDEX} names {len(names)} shards and {missing[0]} is not in {folder}{others}; {AGAIN}."
        )
    for name in names:
        here = tensors_of(folder / name)
        lacking = next(
            (tensor for tensor, home in homes.items() if home == name and tensor not in here), None
        )
        if lacking:
            raise WorkshopError(
                f"the shard {folder / name} lacks {lacking}, which {INDEX} says is in it; {AGAIN}."
            )
    return Checkpoint(folder, tuple(folder / name for name in names), homes)


def read_index(index: Path) -> dict[str, str]:
    """Return the shard of each tensor; WorkshopError where the index is half-written."""
    try:
        homes = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        if not homes or not all(isinstance(home, str) and home == Path(home).name for home in homes.values()):
            raise ValueError("no shards beside it are named")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkshopError(f"{index} is no index of shards ({error}); {AGAIN}.") from error
    return homes


def tensors_of(file: Path) -> set[str]:
    """Return the names in a safetensors file; it says itself how long it must be."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            return set(opened.keys())
    except (SafetensorError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise WorkshopError(f"the shard {file} is half-written ({reason}); {AGAIN}.") from error
