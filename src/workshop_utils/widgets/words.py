"""Sizes and differences in words."""

import re
from html import escape

from workshop_utils.units import format_gb, format_gib

ADDRESS = re.compile(r"https?://[^\s,;)]+[^\s,;).]")

# An option of the command line in an engine's sentence, and the control that stands for it here.
CONTROLS = {
    "--gpu": "the list GPU type", "--tp": "TP size", "--pp": "PP size", "--dp": "DP size",
    "--ep": "the box Whole experts",
}  # fmt: skip
OPTION = re.compile("|".join(rf"{option}(?![\w-])" for option in CONTROLS))


def for_controls(sentence: str) -> str:
    """Return an engine's sentence for who has controls and no command line."""
    return OPTION.sub(lambda found: CONTROLS[found[0]], sentence)


def both_units(size_bytes: float) -> str:
    """Return the size as a driver reports it and as footprints are written, ``79.2 GiB (85.0 GB)``."""
    return f"{format_gib(size_bytes)} ({format_gb(size_bytes)})"


def difference(size_bytes: float, other_bytes: float) -> str:
    """Return how much more or less the first size is: ``the same``, ``12 % more``, ``16.0 times as much``."""
    if not other_bytes or not size_bytes:
        return (
            "the same"
            if size_bytes == other_bytes
            else f"{format_gb(size_bytes)} against {format_gb(other_bytes)}"
        )
    ratio = size_bytes / other_bytes
    if abs(ratio - 1) < 0.005:
        return "the same"
    if ratio >= 2:
        return f"{ratio:.1f} times as much"
    if ratio > 0.5:
        return f"{abs(ratio - 1) * 100:.0f} % {'more' if ratio > 1 else 'less'}"
    return f"only {ratio * 100:.0f} % of it" if ratio >= 0.01 else "less than 1 % of it"


def linked(text: str) -> str:
    """Return text as HTML in which addresses can be followed."""
    parts, end = [], 0
    for found in ADDRESS.finditer(text):
        address = escape(found[0])
        link = f'<a href="{address}" target="_blank" rel="noopener">{address}</a>'
        parts += [escape(text[end : found.start()]), link]
        end = found.end()
    return "".join((*parts, escape(text[end:])))


def plural(count: int, noun: str) -> str:
    """Return ``1 token`` or ``4,096 tokens``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
