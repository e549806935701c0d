"""The other nodes of a Slurm job, which ``workshop nodes`` collects, as a frame of the stream."""

import json
from pathlib import Path
from typing import Any

from workshop_utils.monitor.nodes_file import nodes_file, read_nodes, shown
from workshop_utils.monitor.sample import STREAM_VERSION


def frame_of(nodes: dict[str, Any] | None) -> str:
    """Return the frame; without other nodes its field is null."""
    return json.dumps({"version": STREAM_VERSION, "kind": "nodes", "nodes": nodes})


NO_NODES = frame_of(None)


class OtherNodes:
    """Reads the command's file, and only that: collectors are started and ended by the command alone.

    What grows old is said to be even if nobody writes it any more.
    """

    subject, nothing, is_of_now = "the figures of the other nodes", NO_NODES, True

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or nodes_file()

    def read(self) -> str:
        """Return the frame of what the file holds now."""
        found = read_nodes(self._file)
        nodes = None if found is None else shown(found)
        return NO_NODES if nodes is None else frame_of(nodes)
