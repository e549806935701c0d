"""A marked block in a configuration file of the reader's, who keeps everything else in it."""

import re
from collections.abc import Sequence
from pathlib import Path

BEGIN = "# >>> multigpu-llm-workshop: `workshop kernel remove` takes this block away"
END = "# <<< multigpu-llm-workshop"
BLOCK = re.compile(rf"\n?{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", flags=re.DOTALL)


def write_block(file: Path, lines: Sequence[str]) -> None:
    """Put the block at the end of the file, in the place of an older one."""
    text = without_block(read(file))
    separator = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    write(file, text + separator + "\n".join([BEGIN, *lines, END]) + "\n")


def remove_block(file: Path) -> bool:
    """Take the block out, and the file with it when nothing else stands there; False when it has none."""
    text = read(file)
    rest = without_block(text)
    if rest == text:
        return False
    if rest.strip():
        write(file, rest)
    else:
        file.unlink()
    return True


def without_block(text: str) -> str:
    """Return the text as it was before ``write_block``."""
    return BLOCK.sub("", text)


def read(file: Path) -> str:
    """Return the file's text, whatever its encoding: bytes that are no UTF-8 survive a round trip."""
    # newline="" keeps the line ends of a file that was written elsewhere.
    if not file.is_file():
        return ""
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return stream.read()


def write(file: Path, text: str) -> None:
    """Replace the file in one step; where it is a link, the file that it leads to."""
    real = file.resolve()
    new = real.with_name(f".{real.name}.new")
    with new.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        stream.write(text)
    if real.exists():
        new.chmod(real.stat().st_mode & 0o777)
    new.replace(real)
