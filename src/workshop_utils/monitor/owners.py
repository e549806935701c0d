"""Whose a program on a GPU is: the notebook whose kernel started it, directly or through others.

A kernel's children are found by their parents; those whose parent has ended (a server that was left running)
by ``JPY_SESSION_NAME``, which Jupyter gives a kernel and its children inherit. The driver's process numbers
are the host's: in a container they may be other programs' here, so that a program counts as known only if it
has the CUDA library loaded.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NOTEBOOK_VARIABLE = b"JPY_SESSION_NAME="
LIBRARY = "libcuda.so"
MOST_ANCESTORS = 64


@dataclass(frozen=True)
class Owner:
    """A program on a GPU; the fields are JSON keys of the stream.

    ``command``: its name, None for a program that cannot be seen from here. ``notebook``: the path of the
    notebook it belongs to, None where it belongs to none that is known.
    """

    pid: int
    command: str | None
    notebook: str | None


def owners_of(
    pids: Iterable[int], kernels: Mapping[int, str], proc: Path = Path("/proc")
) -> tuple[Owner, ...]:
    """Return who each of ``pids`` is; ``kernels`` has the notebook of each kernel's process number."""
    return tuple(owner_of(pid, kernels, proc) for pid in sorted(set(pids)))


def owner_of(pid: int, kernels: Mapping[int, str], proc: Path) -> Owner:
    """Return who one process is; what the system hides is unknown."""
    if not has_library(proc / str(pid)):
        return Owner(pid, None, None)
    notebook = next((kernels[number] for number in lineage(pid, proc) if number in kernels), None)
    return Owner(pid, name_of(proc / str(pid)), notebook or inherited_notebook(proc / str(pid)))


def has_library(folder: Path) -> bool:
    """Return whether a process that we may look at has loaded CUDA."""
    try:
        return LIBRARY in (folder / "maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def lineage(pid: int, proc: Path) -> Iterator[int]:
    """Yield a process and its ancestors."""
    for _ in range(MOST_ANCESTORS):
        if pid <= 1:
            return
        yield pid
        try:
            text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        # The name in brackets may hold spaces and brackets; the parent is the second field behind it.
        pid = int(text.rpartition(")")[2].split()[1])


def name_of(folder: Path) -> str | None:
    """Return a process's name, at most 15 characters as the kernel has it."""
    try:
        return (folder / "comm").read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def inherited_notebook(folder: Path) -> str | None:
    """Return the notebook that a process has in its environment, of which nothing else is looked at."""
    try:
        entries = (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    found = (
        entry.removeprefix(NOTEBOOK_VARIABLE) for entry in entries if entry.startswith(NOTEBOOK_VARIABLE)
    )
    name = next(found, b"").decode("utf-8", "replace")
    return Path(name).name or None
