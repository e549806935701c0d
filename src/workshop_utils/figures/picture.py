"""A figure that shows itself in a notebook, with its figures as text for who cannot see it."""

from io import BytesIO
from typing import Any


class Picture:
    """Wraps a matplotlib figure: PNG for the eye, ``description`` for text and screen readers."""

    def __init__(self, figure: Any, description: str) -> None:
        self.figure = figure
        self.description = description

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.figure.savefig(buffer, format="png")
        return buffer.getvalue()

    def __repr__(self) -> str:
        return self.description
