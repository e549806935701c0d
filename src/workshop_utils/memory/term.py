"""One line of an estimate."""

from typing import Literal, NamedTuple

Certainty = Literal["exact", "measured", "assumed"]
Kind = Literal["weights", "kv_cache", "activations", "reserve", "process"]


class Term(NamedTuple):
    """Some bytes on one GPU, with the formula in words, its source, and how sure it is.

    ``kind``: weights, kv_cache and activations live in the framework's allocator; reserve is what that
    allocator, or the engine, holds beyond them; process is outside it (driver, CUDA context), where only
    NVML sees it.
    """

    name: str
    kind: Kind
    bytes: int
    formula: str
    source: str
    certainty: Certainty

    def as_json(self) -> dict[str, object]:
        return self._asdict()
