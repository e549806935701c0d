"""The other nodes of a job, on their way from ``workshop nodes`` to the panel: one private file, kept new.

The command writes it once a second; the server reads it and trusts nothing in it.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workshop_utils.monitor.node_reading import (
    LONGEST_NAME,
    LONGEST_SENTENCE,
    MOST_GPUS,
    NodeReading,
    number,
    read_row,
    row_of,
    text,
)
from workshop_utils.monitor.private_file import read_private, runtime_file, write_private

FILE_VERSION = 1
MOST_NODES = 64
HISTORY_READINGS = 60
# 64 nodes of 8 GPUs with a minute of each are 330 kB.
MOST_BYTES = 1 << 20
# Older than this is no longer now, and after ten minutes nobody wants to know.
FRESH_SECONDS = 5.0
FORGET_SECONDS = 600.0
# Python from a cluster's file system takes its time.
START_SECONDS = 60.0

STARTING = "No figures yet: its collector is being started, which takes some seconds."
NOT_STARTED = (
    "No figures came within a minute: its collector could not be started; what srun said stands where "
    "`workshop nodes` runs."
)
SILENT = "No figures came for 5 s and more: its collector ended, or this node is out of reach or overloaded."
UNWRITTEN = (
    "The figures of the other nodes have ended: `workshop nodes` no longer writes them, as when it was "
    "killed; start it again."
)


@dataclass(frozen=True)
class NodeFigures:
    """One node. ``received_at``: seconds since 1970 by the clock of the node with the panel.

    ``history`` has the utilisation of each GPU of ``reading`` in percent, a value a second, oldest first.
    """

    name: str
    received_at: float | None = None
    reading: NodeReading | None = None
    history: tuple[tuple[float | None, ...], ...] = ()

    def with_reading(self, reading: NodeReading, now: float) -> "NodeFigures":
        """Return the node after one more reading."""
        known = [gpu.index for gpu in self.reading.gpus] if self.reading else []
        past = dict(zip(known, self.history, strict=False))
        history = tuple(
            (*past.get(gpu.index, ()), gpu.utilization_percent)[-HISTORY_READINGS:] for gpu in reading.gpus
        )
        return replace(self, received_at=now, reading=reading, history=history)


@dataclass(frozen=True)
class OtherNodes:
    """What the command knows. ``ended``: one sentence when it has stopped, else None."""

    job: str
    pid: int
    started_at: float
    updated_at: float
    ended: str | None
    nodes: tuple[NodeFigures, ...]


def nodes_file() -> Path:
    """Return where this machine's file is; WorkshopError without Jupyter."""
    return runtime_file("nodes")


def write_nodes(file: Path, found: OtherNodes) -> None:
    """Put it in place of the last one."""
    rows = [
        {
            "name": node.name,
            "received_at": node.received_at,
            "reading": None if node.reading is None else row_of(node.reading),
            "history": node.history,
        }
        for node in found.nodes
    ]
    write_private(file, json.dumps({**vars(found), "version": FILE_VERSION, "nodes": rows}))


def read_nodes(file: Path) -> OtherNodes | None:
    """Return what the file holds; None for one that is not this user's, not private, too large or damaged."""
    content = read_private(file, MOST_BYTES)
    if content is None:
        return None
    try:
        row = json.loads(content)
        if not isinstance(row, dict) or row.get("version") != FILE_VERSION:
            return None
        job, pid, updated_at = text(row, "job", LONGEST_NAME), row.get("pid"), number(row, "updated_at")
        started_at, nodes = number(row, "started_at"), row.get("nodes")
        if job is None or not isinstance(pid, int) or started_at is None or updated_at is None:
            return None
        if not isinstance(nodes, list) or len(nodes) > MOST_NODES:
            return None
        ended = text(row, "ended", 2 * LONGEST_SENTENCE)
        return OtherNodes(job, pid, started_at, updated_at, ended, tuple(map(_read_node, nodes)))
    except (ValueError, RecursionError):
        return None


def shown(found: OtherNodes, now: float | None = None) -> dict[str, Any] | None:
    """Return the nodes as the stream's frame has them; what is old is said to be, and at last None.

    The sentences do not change while nothing does, so that a frame is only sent for news.
    """
    now = time.time() if now is None else now
    # A clock that was set back leaves a date in the future, which says nothing about now either.
    age = abs(now - found.updated_at)
    if age > FORGET_SECONDS:
        return None
    ended = found.ended or (UNWRITTEN if age > FRESH_SECONDS else None)
    late = abs(now - found.started_at) > START_SECONDS
    return {
        "job": found.job,
        "updated_at": found.updated_at,
        "ended": ended,
        "nodes": [_shown(node, now, late, ended is not None) for node in found.nodes],
    }


def _shown(node: NodeFigures, now: float, late: bool, ended: bool) -> dict[str, Any]:
    if ended:
        status, error = "ended", None
    elif node.received_at is None:
        status, error = ("stale", NOT_STARTED) if late else ("starting", STARTING)
    elif abs(now - node.received_at) > FRESH_SECONDS:
        status, error = "stale", SILENT
    else:
        status, error = "ok", None
    reading = None if node.reading is None else row_of(node.reading)
    if reading is not None:
        reading["gpus"] = [
            {**gpu, "history": history} for gpu, history in zip(reading["gpus"], node.history, strict=True)
        ]
    return {"name": node.name, "status": status, "error": error, "reading": reading}


def _read_node(row: Any) -> NodeFigures:
    if not isinstance(row, dict):
        raise ValueError("no node")
    name, reading, history = text(row, "name", LONGEST_NAME), row.get("reading"), row.get("history")
    if not name or not isinstance(history, list) or len(history) > MOST_GPUS:
        raise ValueError("no node")
    if reading is None:
        return NodeFigures(name)
    if not isinstance(reading, dict):
        raise ValueError("no reading")
    found = read_row(reading)
    if len(history) != len(found.gpus):
        raise ValueError("a history of other GPUs")
    return NodeFigures(name, number(row, "received_at"), found, tuple(map(_read_history, history)))


def _read_history(values: Any) -> tuple[float | None, ...]:
    if not isinstance(values, list) or len(values) > HISTORY_READINGS:
        raise ValueError("no history")
    return tuple(number({"value": value}, "value") for value in values)
