"""The reader's notebooks: opened in a checkout where they are, copied out of an installed wheel.

The rule: a file that the reader never changed is brought up to date, a changed one is never touched.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import workshop_utils
from workshop_utils.errors import WorkshopError
from workshop_utils.storage import FOLDER_NAME, require_writable

FIRST_NOTEBOOK = "00_start_here.ipynb"
PACKAGE = Path(workshop_utils.__file__).parent
IN_WHEEL = PACKAGE / "_notebooks"
IN_CHECKOUT = PACKAGE.parents[1] / "notebooks"
# SHA-256 of every file as it was copied: what still has that hash, the reader did not change.
RECORD = ".workshop-notebooks.json"
CHOOSE = "choose another one with --folder FOLDER"


def notebook_folder(chosen: Path | None) -> Path:
    """Return the folder to open: the reader's choice, else the checkout's, else one in the home."""
    if chosen is not None:
        return chosen.expanduser().absolute()
    return Path.home() / FOLDER_NAME if IN_WHEEL.is_dir() else IN_CHECKOUT


def bring_notebooks(folder: Path) -> list[str]:
    """Copy the notebooks into ``folder``, unless it is the checkout's own, never over a changed file.

    Returns one sentence for every file that was kept although there is a new version of it.
    Raises ``WorkshopError`` when the folder cannot be written.
    """
    require_writable(folder, CHOOSE)
    source = IN_WHEEL if IN_WHEEL.is_dir() else IN_CHECKOUT
    return [] if folder.resolve() == source.resolve() else copy_notebooks(source, folder)


def copy_notebooks(source: Path, folder: Path) -> list[str]:
    """Copy every file below ``source`` that the reader has not changed in ``folder``.

    Raises ``WorkshopError`` where a folder of the reader's has the name of a file.
    """
    copied = read_record(folder)
    kept = []
    for relative in files_below(source):
        content = (source / relative).read_bytes()
        mark = hashlib.sha256(content).hexdigest()
        target = folder / relative
        if target.is_dir():
            raise WorkshopError(
                f"{target} is a folder where a file of the workshop goes; rename it, or {CHOOSE}."
            )
        present = hashlib.sha256(target.read_bytes()).hexdigest() if target.exists() else None
        if present not in (None, mark, copied.get(relative)):
            if copied.get(relative) != mark:
                kept.append(
                    f"Kept your changed {relative}; for the new version rename yours and start again."
                )
            continue
        if present != mark:
            replace(target, content)
        copied[relative] = mark
    replace(folder / RECORD, json.dumps(copied, indent=1).encode())
    return kept


def files_below(source: Path) -> Iterator[str]:
    """Yield the relative paths of the files, in order, without Jupyter's checkpoints and hidden files."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not any(part.startswith((".", "__")) for part in relative.parts):
            yield relative.as_posix()


def read_record(folder: Path) -> dict[str, str]:
    """Return path -> SHA-256 of what was copied; without a readable record everything is the reader's."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def replace(target: Path, content: bytes) -> None:
    """Write the whole file or nothing, as the reader's own, whatever the mode of the installed one is."""
    require_writable(target.parent, CHOOSE)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
