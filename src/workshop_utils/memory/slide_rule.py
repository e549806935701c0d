"""The slides' rule of thumb, and the table that they publish beside what the rule gives.

Weights = parameters × bytes × 1.2. KV cache = 2 × layers × embedding width × bytes × 4096 tokens, rounded to
0.1 GB, then times the number of 4096-token pieces. Decimal GB throughout. The rule ignores grouped KV heads,
sliding windows and activations; it shrinks the cache together with the weights.
Source: https://ksingh7.medium.com/calculate-how-much-gpu-memory-you-need-to-serve-any-llm-67301a844f21 and
https://unfoldai.com/gpu-memory-requirements-for-llms/, as the slides cite them.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.units import GB

OVERHEAD = 1.2
PIECE = 4096


@dataclass(frozen=True, slots=True)
class SlideRule:
    """What the rule gives, in decimal GB, rounded as the slide prints it."""

    weights_gb: float
    kv_cache_gb: float

    @property
    def total_gb(self) -> float:
        return round(self.weights_gb + self.kv_cache_gb, 1)


@dataclass(frozen=True, slots=True)
class SlideCell:
    """One cell of the published table beside the rule; ``model`` is the catalogue's name.

    ``printed_total_gb`` is the total as the slide prints it: the sum of its two terms in 23 cells, and 241
    for 64.8 + 176 in the last cell of 27B @ FP16.
    """

    label: str
    model: str
    tokens: int
    published: SlideRule
    printed_total_gb: float
    rule: SlideRule

    @property
    def difference_gb(self) -> float:
        """The rule's weights + KV cache minus the published ones, 0.0 where the rule reproduces the cell."""
        return round(self.rule.total_gb - self.published.total_gb, 1)


def slide_rule(
    *, parameters: float, layers: int, embedding_width: int, bytes_per_value: float, tokens: int
) -> SlideRule:
    """Return the rule's weights and KV cache for one sequence of ``tokens`` tokens."""
    piece = round(2 * layers * embedding_width * bytes_per_value * PIECE / GB, 1)
    return SlideRule(
        weights_gb=round(parameters * bytes_per_value * OVERHEAD / GB, 1),
        kv_cache_gb=round(piece * tokens / PIECE, 1),
    )


def slide_table() -> tuple[SlideCell, ...]:
    """Return the 24 published cells, row by row, each with what the rule gives."""
    with Path(__file__).with_name("slide_table.toml").open("rb") as file:
        table = tomllib.load(file)
    return tuple(
        SlideCell(
            label=row["label"],
            model=row["model"],
            tokens=tokens,
            published=SlideRule(row["weights_gb"], kv_cache_gb),
            printed_total_gb=total_gb,
            rule=slide_rule(
                parameters=row["parameters"],
                layers=row["layers"],
                embedding_width=row["embedding_width"],
                bytes_per_value=row["bytes_per_value"],
                tokens=tokens,
            ),
        )
        for row in table["row"]
        for tokens, kv_cache_gb, total_gb in zip(
            table["tokens"], row["kv_cache_gb"], row["total_gb"], strict=True
        )
    )
