"""A widget where widgets work, and readable HTML or text where they do not (nbconvert, a web view)."""

from typing import Any


def with_fallback(widget: Any, html: str, text: str) -> dict[str, Any]:
    """Return the MIME bundle of ``widget`` with a page and a text for viewers without a kernel."""
    return {**widget._repr_mimebundle_(), "text/html": html, "text/plain": text}
