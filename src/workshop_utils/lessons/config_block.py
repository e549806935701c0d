"""A marked block in a configuration file of the reader's, who keeps everything else in it."""

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from workshop_utils.errors import WorkshopError

BEGIN = "# >>> multigpu-llm-workshop: `workshop kernel remove` takes this block away"
END = "# <<< multigpu-llm-workshop"
# The empty line before it is ours, the end of the reader's last line is not. A block ends before the next
# begins.
BLOCK = re.compile(
    rf"(?:(?<=\n)\r?\n)?^{re.escape(BEGIN)}\r?\n(?:(?!{re.escape(BEGIN)}).)*?^{re.escape(END)}\r?(?:\n|\Z)",
    flags=re.DOTALL | re.MULTILINE,
)


def write_block(file: Path, lines: Sequence[str]) -> None:
    """Put the block at the end of the file, in the place of an older one."""
    text = without_block(file, read(file))
    separator = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    write(file, text + separator + "\n".join([BEGIN, *lines, END]) + "\n")


def remove_block(file: Path) -> bool:
    """Take the block out, and the file with it when nothing else stands there; False when it has none."""
    text = read(file)
    rest = without_block(file, text)
    if rest == text:
        return False
    if rest.strip():
        write(file, rest)
    else:
        file.unlink()
    return True


def without_block(file: Path, text: str) -> str:
    """Return the text as it was before ``write_block``; ``WorkshopError`` for a block without its end."""
    rest = BLOCK.sub("", text)
    if BEGIN in rest:
        raise WorkshopError(
            f'{file} has the line "{BEGIN}" but not "{END}" at the end of its block, so nobody can tell '
            "which lines are yours; delete that line and ours below it, and try again."
        )
    return rest


def read(file: Path) -> str:
    """Return the file's text, whatever its encoding: bytes that are no UTF-8 survive a round trip."""
    if not os.path.lexists(file):
        return ""
    if not file.is_file():
        raise WorkshopError(f"{file} is a folder or a link to no file; move it away and try again.")
    # newline="" keeps the line ends of a file that was written elsewhere.
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return stream.read()


def write(file: Path, text: str) -> None:
    """Replace the file in one step; where it is a link, the file that it leads to."""
    real = file.resolve()
    # Only the owner may read it until it has the mode of the old one, which may hold a password.
    handle, new = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            stream.write(text)
        if real.exists():
            os.chmod(new, real.stat().st_mode & 0o777)
        os.replace(new, real)
    except BaseException:
        os.unlink(new)
        raise
