"""A job with two other nodes, as ``workshop nodes`` knows it."""

import time

from workshop_utils.monitor.node_reading import NodeGpu, NodeHost, NodeReading
from workshop_utils.monitor.nodes_file import NodeFigures, OtherNodes

GPUS = tuple(
    NodeGpu(index, "NVIDIA H200", "ok", None, 37, 60 * 2**30, 140 * 2**30, 310.5, mine)
    for index, mine in enumerate((True, False, None))
)
HOST = NodeHost(12.5, 8.0, 3 * 2**30, 16 * 2**30)
READING = NodeReading(1790000000.5, GPUS, None, HOST, None)
WITHOUT = NodeReading(1790000000.5, (), "This machine has no NVIDIA driver.", None, "no psutil.")


def found(now: float) -> OtherNodes:
    nodes = (
        NodeFigures("nb").with_reading(READING, now),
        NodeFigures("nc").with_reading(WITHOUT, now),
    )
    return OtherNodes("77", 4321, now - 5, now, None, nodes)


FOUND = found(time.time())
