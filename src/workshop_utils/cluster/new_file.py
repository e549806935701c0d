"""Writing a file that was not there before."""

from pathlib import Path

from workshop_utils.errors import WorkshopError


def write_new(path: Path, text: str) -> None:
    """Write a file; WorkshopError where it is there, with somebody's work in it, or cannot be written."""
    try:
        with path.open("x", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except FileExistsError:
        raise WorkshopError(f"{path} is there already; give another name, or remove it first.") from None
    except OSError as error:
        raise WorkshopError(
            f"{path.name} cannot be written into the folder {path.parent} ({error.strerror}); give --out a "
            "folder that is there and yours to write in."
        ) from None
