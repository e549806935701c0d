"""The other nodes of a Slurm job, which ``workshop nodes`` collects, as a frame of the stream."""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

from workshop_utils.monitor.nodes_file import FRESH_SECONDS, nodes_file, read_nodes, shown
from workshop_utils.monitor.sample import STREAM_VERSION

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.9


def frame_of(nodes: dict[str, Any] | None) -> str:
    """Return the frame; without other nodes its field is null."""
    return json.dumps({"version": STREAM_VERSION, "kind": "nodes", "nodes": nodes})


NO_NODES = frame_of(None)


class OtherNodes:
    """Follows the command's file once a second: a look whether it is there, and a thread that reads it.

    It only reads: collectors are started and ended by the command alone. What grows old is said to be even if
    nobody writes it any more.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or nodes_file()
        self._looked_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self.frame = NO_NODES

    def look(self) -> None:
        """Look, if a second has passed; returns at once. Runs on the event loop."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS or (self._task is not None and not self._task.done()):
            return
        # After a while in which nobody looked, the last frame says nothing about now.
        slept = now - self._looked_at > FRESH_SECONDS
        self._looked_at = now
        is_there = self._file.exists()
        if slept or not is_there:
            self.frame = NO_NODES
        if is_there:
            # A busy job's file has up to a megabyte, and lies in a home that may be slow.
            self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            self.frame = await asyncio.to_thread(self.read)
        except Exception:  # no figure of the stream depends on it
            LOG.exception("the figures of the other nodes could not be read")
            self.frame = NO_NODES

    def read(self) -> str:
        """Return the frame of what the file holds now."""
        found = read_nodes(self._file)
        nodes = None if found is None else shown(found)
        return NO_NODES if nodes is None else frame_of(nodes)
