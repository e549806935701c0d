"""Where a run keeps its logs and notes, and the environment variables that lead its processes there."""

from dataclasses import dataclass
from pathlib import Path

# In the environment of every process of a run, with a name of its own: so all of them can be found.
RUN_ID = "WORKSHOP_RUN_ID"
RUN_FOLDER = "WORKSHOP_RUN_FOLDER"
# The file that a rank writes its notes to; notes.py does nothing without it.
RUN_NOTES = "WORKSHOP_RUN_NOTES"
# Process ids of the launcher, for the agent, and of the agent, for the ranks: each ends with the one before.
RUN_LAUNCHER = "WORKSHOP_RUN_LAUNCHER"
RUN_AGENT = "WORKSHOP_RUN_AGENT"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run. ``agent_log`` is what torchrun says, ``failures`` how its ranks ended."""

    path: Path

    def log(self, rank: int) -> Path:
        """All that the rank prints, standard error included."""
        return self.path / f"rank{rank}.log"

    def notes(self, rank: int) -> Path:
        """The rank's notes, one JSON object a line."""
        return self.path / f"rank{rank}.notes.jsonl"

    def stack(self, rank: int) -> Path:
        """Where the rank stood when the launcher asked it."""
        return self.path / f"rank{rank}.stack.txt"

    @property
    def agent_log(self) -> Path:
        return self.path / "torchrun.log"

    @property
    def failures(self) -> Path:
        return self.path / "failures.json"

    def failures_of(self, node: str) -> Path:
        """How the ranks of one of several nodes ended."""
        return self.path / f"failures-{node}.json"

    @property
    def step(self) -> Path:
        """The number of Slurm's step that runs the agents of several nodes."""
        return self.path / "step"
