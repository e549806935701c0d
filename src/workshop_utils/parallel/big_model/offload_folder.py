"""The folder for layers that lie on the disk: room for them, nobody else's files, nothing left of a dead run.

Accelerate keeps one ``NAME.dat`` a tensor there and an ``index.json``. A folder that already has an
``index.json`` is believed: ``dispatch_model`` (accelerate 1.15, big_modeling.py) then writes nothing and
reads whatever weights lie there. So a marker of ours, written before anything else, says which process uses
the folder and which files are its own; only such files are ever deleted.
"""

import contextlib
import json
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from workshop_utils.errors import WorkshopError
from workshop_utils.storage import existing_parent, require_space, require_writable

MARKER = ".workshop-offload.json"
INDEX = "index.json"
ANOTHER = "name another --offload-folder, on a disk that you may write and that has room"
# The clock of a process's start is the kernel's; two readings of it differ by less than a tick.
SAME_START_SECONDS = 0.1


def take_offload_folder(folder: Path, tensors: Iterable[str], needed_bytes: int) -> None:
    """Make ``folder`` ready for the offloaded ``tensors`` and mark it as this process's.

    What a killed run of ours left there is deleted first. Raises WorkshopError, with nothing written, for a
    folder that cannot be written, has no room, is used by a living process or holds offloaded weights that
    are not ours.
    """
    files = [*(f"{name}.dat" for name in tensors), INDEX]
    check_offload_folder(folder, files)
    clear_offload_folder(folder)
    require_space(existing_parent(folder), needed_bytes, ANOTHER)
    made = not folder.exists()
    require_writable(folder, ANOTHER)
    process = psutil.Process()
    owner = {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}
    (folder / MARKER).write_text(json.dumps({**owner, "made": made, "files": files}), encoding="utf-8")


def check_offload_folder(folder: Path, files: Iterable[str] = (INDEX,)) -> None:
    """Raise WorkshopError for a folder that ``take_offload_folder`` would refuse; it stays as it is.

    ``files``: the names that must be free. Room is not looked at, because what a killed run left counts there
    until it is deleted.
    """
    # os.path, not Path: below a folder that may not be searched, Path.exists raises PermissionError.
    folder = folder.absolute()
    path = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not path.is_dir():
        what = "is a file" if path == folder else f"cannot be made, because {path} is a file"
        raise WorkshopError(f"the offload folder {folder} {what}; {ANOTHER}.")
    # A killed run of ours may have filled the disk: there the byte that this writes would find no room.
    if not os.path.exists(folder / MARKER):
        require_writable(path, ANOTHER)
    before = read_marker(folder)
    if before is not None:
        refuse_living(folder, before)
    ours = before["files"] if before else ()
    foreign = [name for name in files if name not in ours and (folder / name).exists()]
    if foreign:
        raise WorkshopError(
            f"the offload folder {folder} already has {foreign[-1]}, which no run of the workshop wrote: "
            f"Accelerate would read its weights in place of the model's. Empty it, or {ANOTHER}."
        )


def clear_offload_folder(folder: Path) -> None:
    """Delete the files that the marker names, the marker last, and the folder where we had made it.

    Without a marker nothing is touched.
    """
    marker = read_marker(folder)
    if marker is None:
        return
    for name in marker["files"]:
        if is_offload_file(name):
            (folder / name).unlink(missing_ok=True)
    (folder / MARKER).unlink(missing_ok=True)
    if marker["made"]:
        with contextlib.suppress(OSError):  # not empty: somebody put something there meanwhile
            folder.rmdir()


def clear_if_dead(folder: Path) -> None:
    """Clear the folder of a process that has ended, killed perhaps; leave that of any other one alone."""
    with contextlib.suppress(WorkshopError):
        marker = read_marker(folder)
        if marker is not None:
            refuse_living(folder, marker)
            clear_offload_folder(folder)


def read_marker(folder: Path) -> dict[str, Any] | None:
    """Return what our marker says, None where there is none; WorkshopError for one that cannot be read."""
    file = folder / MARKER
    try:
        marker = json.loads(file.read_text(encoding="utf-8"))
        if not {"host", "pid", "started", "made", "files"} <= set(marker):
            raise ValueError("fields are missing")
    except (FileNotFoundError, NotADirectoryError):  # the latter where a parent is a file
        return None
    except (OSError, ValueError, TypeError) as error:
        raise WorkshopError(
            f"{file} cannot be read ({error}), so that nobody knows whose weights lie there; delete {folder} "
            f"yourself if nothing of yours is in it, or {ANOTHER}."
        ) from error
    return dict(marker)


def refuse_living(folder: Path, marker: dict[str, Any]) -> None:
    """Raise WorkshopError while the process that marked the folder lives, or may live on another node."""
    if marker["host"] != socket.gethostname():
        raise WorkshopError(
            f"the offload folder {folder} was taken by process {marker['pid']} on {marker['host']}, which "
            f"cannot be seen from here; if that run has ended, delete {folder / MARKER}, or {ANOTHER}."
        )
    if marker["pid"] == os.getpid():
        raise WorkshopError(
            f"the offload folder {folder} holds another model of this process; release() it first, or "
            f"{ANOTHER}."
        )
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(int(marker["pid"])).create_time()
        if abs(started - marker["started"]) < SAME_START_SECONDS:
            raise WorkshopError(
                f"the offload folder {folder} is in use by process {marker['pid']}; wait for it, end it, or "
                f"{ANOTHER}."
            )


def write_tensor(folder: Path, name: str, tensor: Any) -> dict[str, Any]:
    """Write one tensor in Accelerate's format and return its row of the index.

    Its own ``offload_weight`` writes through a memory map: on a full disk the process is not told but killed
    (SIGBUS). This raises OSError.
    """
    import torch

    plain = tensor.detach().contiguous().cpu()
    half = plain.dtype == torch.bfloat16  # which numpy does not have
    array = (plain.view(torch.int16) if half else plain).numpy()
    (folder / f"{name}.dat").write_bytes(array.reshape(-1).data)
    return {"dtype": "bfloat16" if half else str(array.dtype), "shape": list(array.shape)}


def save_index(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write Accelerate's index of a folder that is ours; without entries there is nothing to write."""
    if entries and read_marker(folder) is not None:
        (folder / INDEX).write_text(json.dumps(entries, indent=2), encoding="utf-8")


def is_offload_file(name: str) -> bool:
    """Return whether a name is one of those that Accelerate gives its files: no path, no other kind."""
    return name == Path(name).name and (name == INDEX or name.endswith(".dat"))
