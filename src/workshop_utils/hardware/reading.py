"""What one provider says: its data, or one sentence about why there is none."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """The envelope of every provider in the stream; its fields are the JSON keys.

    ``status`` is ``ok`` (``data`` is there) or ``unavailable`` (``data`` is None and ``error`` is one
    sentence for a reader: what is missing, the likely cause, the next step).
    """

    status: str
    error: str | None
    data: T | None

    @staticmethod
    def of(data: T) -> "Reading[T]":
        """Wrap what was read."""
        return Reading("ok", None, data)

    @staticmethod
    def missing(reason: str) -> "Reading[T]":
        """Say in one sentence why nothing could be read."""
        return Reading("unavailable", reason, None)
