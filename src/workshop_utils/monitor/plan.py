"""A plan of GPU memory, on its way from a notebook or terminal to the panel: one private file for the server.

Handlers only read, so a plan cannot be posted: whoever made it writes ``workshop-plan-HOST.json`` into
Jupyter's runtime folder, which a server shares with its kernels and terminals, with mode 0600. A session on
another machine of the same home has a file of its own.
"""

import json
import os
import stat
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from platform import node

from workshop_utils.errors import WorkshopError

MOST_BYTES = 1 << 18
PRIVATE = 0o600


@dataclass(frozen=True)
class PlannedTerm:
    """A part of the plan: ``kind`` is that of the estimate (weights, kv_cache, …)."""

    name: str
    kind: str
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What was planned, and the terms of each GPU in order of the ranks. ``made_at``: seconds since 1970."""

    title: str
    made_at: float
    gpus: tuple[tuple[PlannedTerm, ...], ...]


def plan_file() -> Path:
    """Return where this machine's plan is; WorkshopError without Jupyter."""
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError as error:
        raise WorkshopError(
            "a plan is shown in JupyterLab, and no Jupyter is installed here; start it with `workshop lab`."
        ) from error
    return Path(jupyter_runtime_dir()) / f"workshop-plan-{node() or 'host'}.json"


def write_plan(title: str, gpus: tuple[tuple[PlannedTerm, ...], ...]) -> Path:
    """Put a plan in place of the last one, in one step, and return the file; only its owner can read it."""
    file = plan_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump(asdict(Plan(title, time.time(), gpus)), out)
    draft.replace(file)
    return file


def read_plan(file: Path) -> Plan | None:
    """Return the plan; None where there is none, or one that is not this user's, not private, or no plan."""
    try:
        with file.open("rb") as source:
            about = os.fstat(source.fileno())
            if (
                about.st_uid != os.getuid()
                or stat.S_IMODE(about.st_mode) & 0o077
                or about.st_size > MOST_BYTES
            ):
                return None
            row = json.loads(source.read(MOST_BYTES))
        gpus = tuple(
            tuple(PlannedTerm(str(term["name"]), str(term["kind"]), int(term["bytes"])) for term in terms)
            for terms in row["gpus"]
        )
        return Plan(str(row["title"]), float(row["made_at"]), gpus)
    except (OSError, ValueError, TypeError, KeyError):
        return None
