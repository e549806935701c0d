"""What became of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, and what its ranks handed back.

    ``outcome`` is finished, failed, killed, out_of_memory or timed_out; ``message`` says it in a sentence,
    with advice unless finished. ``notes``: what each rank noted, rank 0 first, without its progress and
    waits. ``logs`` is the folder of the ranks' logs, None when the run finished: they are removed then.
    """

    outcome: str
    message: str
    seconds: float
    notes: tuple[tuple[Mapping[str, Any], ...], ...] = field(repr=False)
    logs: Path | None = None

    def __str__(self) -> str:
        return self.message

    @property
    def finished(self) -> bool:
        """Whether every rank came to its end without an error."""
        return self.outcome == "finished"

    @property
    def measurements(self) -> tuple[dict[str, Any], ...]:
        """All measurements in the order of the ranks, each with its ``rank``."""
        return tuple(
            {"rank": rank, **note["measurement"]}
            for rank, notes in enumerate(self.notes)
            for note in notes
            if isinstance(note.get("measurement"), dict)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the schema of ``workshop run --json``."""
        return {
            "outcome": self.outcome,
            "message": self.message,
            "ranks": len(self.notes),
            "seconds": round(self.seconds, 3),
            "measurements": list(self.measurements),
        }
