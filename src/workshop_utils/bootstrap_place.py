"""Where the environment of this checkout stands."""

import hashlib
import os
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.storage import FOLDER_NAME, scratch_folder

CHECKOUT = Path(__file__).resolve().parents[2]
LINK = CHECKOUT / ".venv"


def environment_folder() -> Path:
    """Return the environment's folder.

    ``WORKSHOP_VENV`` where it is set, else on the cluster's scratch (an environment has tens of thousands of
    files, which a home quota counts), else ``.venv`` in the checkout. An environment that already stands in
    the checkout stays where it is.
    """
    chosen = os.environ.get("WORKSHOP_VENV")
    if chosen:
        return Path(chosen).expanduser().absolute()
    scratch = scratch_folder()
    if scratch is None or (LINK.is_dir() and not LINK.is_symlink()):
        return LINK
    # Two checkouts of one reader must not share an environment.
    mark = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]
    return scratch / FOLDER_NAME / "environments" / f"{CHECKOUT.name}-{mark}"


def link_to_checkout(folder: Path) -> None:
    """Let ``.venv`` in the checkout lead to an environment that stands elsewhere."""
    if folder == LINK or (LINK.is_symlink() and LINK.resolve() == folder.resolve()):
        return
    if LINK.is_dir() and not LINK.is_symlink():
        return
    try:
        LINK.unlink(missing_ok=True)
        LINK.symlink_to(folder)
    except OSError as error:
        raise WorkshopError(
            f"cannot link {LINK} to {folder} ({error.strerror}); clone into a folder that you may write."
        ) from error
