"""What one GPU needs: its terms, its peaks, and what the allocator holds beyond them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from workshop_utils.memory.term import Kind, Term

# Simulates the allocator with so many bytes at most; returns what it reserves, None out of memory.
Simulation = Callable[[int | None], int | None]


class Reserve(NamedTuple):
    """How the allocator's reserve is found: a simulation, which takes milliseconds and runs when asked for.

    ``limit_bytes`` is the GPU's memory less the process around the allocator, None where no GPU is named.
    """

    simulate: Simulation
    limit_bytes: int | None
    source: str
    certainty: str

    def term(self, peak_bytes: int) -> Term:
        """Return what is reserved beyond the peak; on a GPU that is too small, what it would be elsewhere."""
        reserved = self.simulate(self.limit_bytes)
        if reserved is None:
            reserved = self.simulate(None) or peak_bytes
        return Term(
            name="allocator reserve",
            kind="reserve",
            bytes=max(0, reserved - peak_bytes),
            formula="segments that PyTorch's caching allocator takes for this sequence of tensors, less the "
            "peak; free memory stays in segments that later tensors do not fit",
            source=self.source,
            certainty=self.certainty,  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class GpuEstimate:
    """The terms of one rank, in bytes. ``needed`` are those that a run cannot do without.

    ``prefill_peak_bytes`` and ``decode_peak_bytes``: the peak of each phase, the higher one being
    ``peak_bytes``; None where the engine does not tell them apart.
    """

    rank: int
    needed: tuple[Term, ...]
    prefill_peak_bytes: int | None = None
    decode_peak_bytes: int | None = None
    reserve: Reserve | None = field(default=None, compare=False)

    def as_rank(self, rank: int) -> "GpuEstimate":
        """Return the same for another rank."""
        if rank == self.rank:
            return self
        return GpuEstimate(rank, self.needed, self.prefill_peak_bytes, self.decode_peak_bytes, self.reserve)

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """All terms, the allocator's reserve included."""
        if self.reserve is None:
            return self.needed
        inside = tuple(term for term in self.needed if term.kind != "process")
        outside = tuple(term for term in self.needed if term.kind == "process")
        return (*inside, self.reserve.term(self.peak_bytes), *outside)

    def bytes_of(self, *kinds: Kind) -> int:
        return sum(term.bytes for term in self.terms if term.kind in kinds)

    @cached_property
    def peak_bytes(self) -> int:
        """Prediction of ``torch.cuda.max_memory_allocated()``: the tensors at the fullest moment."""
        return sum(term.bytes for term in self.needed if term.kind != "process")

    @cached_property
    def needed_bytes(self) -> int:
        """What the process cannot do without; the allocator gives its reserve back before it fails."""
        return sum(term.bytes for term in self.needed)

    @property
    def process_bytes(self) -> int:
        """Prediction of what NVML shows for the process: all terms."""
        return sum(term.bytes for term in self.terms)

    def fits(self, usable_bytes: int) -> bool:
        """Return whether the run ends on a GPU with so many bytes for programs."""
        if self.needed_bytes > usable_bytes:
            return False
        if self.reserve is None or self.process_bytes <= usable_bytes:
            return True
        outside = self.needed_bytes - self.peak_bytes
        return self.reserve.simulate(usable_bytes - outside) is not None

    def as_json(self) -> dict[str, object]:
        return {
            "rank": self.rank,
            "terms": [term.as_json() for term in self.terms],
            "peak_bytes": self.peak_bytes,
            "process_bytes": self.process_bytes,
            "prefill_peak_bytes": self.prefill_peak_bytes,
            "decode_peak_bytes": self.decode_peak_bytes,
        }
