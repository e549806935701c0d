"""Some bytes of a peak."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of the peak, and how they come about."""

    name: str
    bytes: int
    formula: str


def total(pieces: Iterable[Piece]) -> int:
    """Return the sum in bytes."""
    return sum(piece.bytes for piece in pieces)
