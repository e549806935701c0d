"""Files through which a notebook or terminal tells the server something: only their owner can read them.

Handlers only read, so nothing can be posted to a server. What the panel shows beside this machine's figures
lies in Jupyter's runtime folder, which a server shares with its kernels and terminals, in a file with mode
0600 for each machine of the home.
"""

import os
import stat
from pathlib import Path
from platform import node

from workshop_utils.errors import WorkshopError

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700


def runtime_file(subject: str) -> Path:
    """Return where this machine's ``workshop-SUBJECT-HOST.json`` is; WorkshopError without Jupyter."""
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError as error:
        raise WorkshopError(
            f"the {subject} would be shown in JupyterLab, and no Jupyter is installed here; start it with "
            "`workshop lab`."
        ) from error
    return Path(jupyter_runtime_dir()) / f"workshop-{subject}-{node() or 'host'}.json"


def write_private(file: Path, text: str) -> None:
    """Put ``text`` in place of what the file held, in one step: a reader finds the old or the new."""
    file.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(file)


def read_private(file: Path, most_bytes: int) -> bytes | None:
    """Return what the file holds; None for none, or one that is not this user's, not private or too large."""
    try:
        # Without O_NONBLOCK, a pipe of this name would be waited for.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as source:
            about = os.fstat(source.fileno())
            if (
                not stat.S_ISREG(about.st_mode)
                or about.st_uid != os.getuid()
                or stat.S_IMODE(about.st_mode) & 0o077
                or about.st_size > most_bytes
            ):
                return None
            return source.read(most_bytes)
    except OSError:
        return None
