"""Text of logs: cleaning it, finding a message whatever stands around it, and figures with exact units."""

import re
from collections.abc import Iterator
from functools import lru_cache

from workshop_utils.units import GIB as BYTES_OF_GIB
from workshop_utils.units import MIB

# Colours and cursor movements of terminals, ECMA-48 section 5.4.
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
UNITS = {"bytes": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
# So many digits that a longer figure is none.
FIGURE = r"(\d{1,9}(?:\.\d{1,9})?)"
COUNT = r"(\d[\d,]{0,14})"
SIZE = rf"{FIGURE}\s?(bytes|B|KiB|MiB|GiB|TiB)"
GIB = rf"{FIGURE}\s?GiB"


def clean(text: str) -> str:
    """Return the text without terminal colours and carriage returns; a shell's continued lines are joined."""
    return ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n").replace("\\\n", " ")


@lru_cache(maxsize=256)
def message(pattern: str) -> re.Pattern[str]:
    """Return a pattern in which each space also matches the line break of a message that was wrapped."""
    return re.compile(pattern.replace(" ", r"\s+"))


def found(pattern: str, text: str) -> re.Match[str] | None:
    """Return the last match: a log holds the retries of a start one after another."""
    matches = list(message(pattern).finditer(text))
    return matches[-1] if matches else None


def all_found(pattern: str, text: str) -> Iterator[re.Match[str]]:
    return message(pattern).finditer(text)


def size_bytes(figure: str, unit: str) -> int:
    """Return bytes of a printed size; the unit is one of ``UNITS``."""
    return round(float(figure) * UNITS[unit])


def gib_bytes(figure: str) -> int:
    return size_bytes(figure, "GiB")


def whole(figure: str) -> int:
    """Return the number of a ``COUNT``; vLLM groups digits with commas."""
    return int(figure.replace(",", ""))


def format_size(size_bytes: float) -> str:
    """Return hundredths of a GiB, as vLLM prints them; a hundredth and less in MiB."""
    if abs(size_bytes) < BYTES_OF_GIB / 100:
        return f"{size_bytes / MIB:,.1f} MiB"
    return f"{size_bytes / BYTES_OF_GIB:,.2f} GiB"
