"""Text as words, names and comments of a batch script, none of which can become more than that."""

import math
import re
import shlex
from collections.abc import Iterator, Sequence

from workshop_utils.errors import WorkshopError

# Site files name folders with variables, such as /scratch/$USER: bash fills in these and nothing else.
VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})")
# Slurm's names of types, features and partitions; a feature may be an expression.
SLURM_WORD = re.compile(r"[A-Za-z0-9_.&|+:-]+")
NOTE_WIDTH = 108
MOST_NOTE = 1000


def quoted(words: Sequence[str]) -> str:
    """Return the words of a command for bash, on lines of about a screen's width."""
    lines, line = [], ""
    for word in map(quoted_word, words):
        if line and len(line) + len(word) > NOTE_WIDTH - 8 and word.startswith("-"):
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return " \\\n  ".join([*lines, line])


def quoted_word(word: str) -> str:
    """Return a word that bash reads as it is. Raises WorkshopError for one that no program can be given."""
    if "\0" in word:
        raise WorkshopError(f"{word!r} holds a null character, which no command can be given.")
    if all(character.isprintable() or character == "\n" for character in word):
        return shlex.quote(word)
    # Other control characters would end lines for some readers: Slurm refuses a script with \r\n in it.
    return f"$'{''.join(map(escaped, word))}'"


def escaped(character: str) -> str:
    """Return a character for bash's $'…'; what does not print as its bytes, in UTF-8 or as a file has it."""
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    try:
        found = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        found = b"?"
    return "".join(f"\\x{byte:02x}" for byte in found)


def folder_word(folder: str) -> str:
    """Return a site's folder for bash: its variables are filled in, everything else stays as it is."""
    plain = VARIABLE.split(folder)
    variables = [*VARIABLE.findall(folder), ""]
    if all(re.fullmatch(r"[A-Za-z0-9_./-]*", piece) for piece in plain):
        return f'"{folder}"'
    pieces = zip(plain, variables, strict=True)
    return "".join(
        (quoted_word(piece) if piece else "") + (f'"{name}"' if name else "") for piece, name in pieces
    )


def slurm_word(name: str) -> str:
    """Return a name of Slurm's as it is. Raises WorkshopError where it could be more than a name."""
    if not SLURM_WORD.fullmatch(name):
        raise WorkshopError(f"{name!r} is no name that Slurm has: letters, digits and . _ - & | + : only.")
    return name


def slurm_time(hours: float) -> str:
    """Return hours as Slurm writes them, ``1-06:15:00``; a part of a minute counts as one."""
    minutes = math.ceil(round(hours * 60, 6))
    days, rest = divmod(minutes, 24 * 60)
    return f"{days}-{rest // 60:02}:{rest % 60:02}:00"


def comment(text: str) -> str:
    """Return text that stays on its comment's line: printable, and no more than a paragraph."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(line.split())[:MOST_NOTE]


def wrapped(text: str) -> Iterator[str]:
    """Yield comment lines of a screen's width."""
    line = "#"
    for word in text.split():
        if len(line) + len(word) >= NOTE_WIDTH and line != "#":
            yield line
            line = "#"
        line = f"{line} {word}"
    yield line
