"""What a reader asks to run, checked before anything starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.bench_memory_machine import bench_machine
from workshop_utils.parallel.launch.environment import cores_here
from workshop_utils.parallel.launch.nodes import JobNodes, job_nodes

# On a CPU, ranks stand for the GPUs of a node; a node of the workshop has up to 8.
CPU_RANKS = 8


@dataclass(frozen=True, slots=True)
class RunRequest:
    """``script`` is an absolute path, ``device`` cuda or cpu; silence ends after ``timeout_seconds``.

    ``ranks`` are those of one node; ``nodes`` None for this machine alone.
    """

    script: Path
    arguments: tuple[str, ...]
    ranks: int
    device: str
    timeout_seconds: float
    nodes: JobNodes | None = None

    @property
    def all_ranks(self) -> int:
        return self.ranks * (len(self.nodes.names) if self.nodes else 1)


def check_request(  # noqa: PLR0913, PLR0917 - what to run, and how
    script: Path | str, arguments: Sequence[str], ranks: int, device: str | None, timeout_seconds: float,
    nodes: int = 1,
) -> RunRequest:  # fmt: skip
    """Return the request, ``device`` chosen where None; WorkshopError says what cannot be and what can."""
    path = Path(script).absolute()
    if not path.exists():
        raise WorkshopError(
            f"there is no script {script} in {Path.cwd()}; give the path of a Python file, or run the cell "
            "that writes it."
        )
    if not path.is_file():
        raise WorkshopError(f"{script} is no file; give the path of a Python file.")
    if not timeout_seconds > 0:
        raise WorkshopError(f"a time-out of {timeout_seconds:g} s is none; give seconds, for example 540.")
    machine = bench_machine(device)
    most = machine.gpus if machine.device == "cuda" else max(CPU_RANKS, cores_here())
    if not 1 <= ranks <= most:
        other = ", or --device cpu to run the ranks on the CPU" if machine.device == "cuda" else ""
        raise WorkshopError(
            f"{ranks} ranks cannot run on {machine.hardware}; give 1 to {most}, one a GPU{other}."
            if machine.device == "cuda"
            else f"{ranks} ranks cannot run on this CPU; give 1 to {most}."
        )
    if nodes < 1:
        raise WorkshopError(f"{nodes} nodes are none; give 1 or more.")
    several = job_nodes(nodes) if nodes > 1 else None
    return RunRequest(path, tuple(map(str, arguments)), ranks, machine.device, timeout_seconds, several)
