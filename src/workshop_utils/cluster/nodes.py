"""The nodes of a cluster and what is free on them, from ``sinfo``'s text.

Text and not JSON: the columns of ``sinfo -O`` read the same from Slurm 20.11 to 26.05, while its JSON changes
shape from release to release.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from workshop_utils.cluster.slurm import ask

# sinfo cuts what is longer than its column, so columns are wide: a node may have many features.
COLUMNS = {
    "NodeList": 128, "Partition": 128, "StateLong": 64, "CPUsState": 64, "Memory": 32, "AllocMem": 32,
    "Gres": 512, "GresUsed": 512, "Features": 1024, "Reason": 256,
}  # fmt: skip
# States in which a node takes jobs; with any word beside them that is none of these it takes none.
WORKING = {"idle", "mixed", "mix", "allocated", "alloc", "completing", "comp", "planned", "plnd"}
NO_REASON = {"none", "(null)", ""}
MIB = 2**20


@dataclass(frozen=True)
class Node:
    """A node as Slurm sees it. ``gpus`` and ``gpus_used`` count by type, such as ``{"a100": 8}``.

    ``cores_free`` and ``memory_free_bytes`` are what no job has been given, whatever the node's state;
    ``states`` are Slurm's words for it, ``reason`` is why it takes no jobs, if somebody wrote that down.
    """

    name: str
    partitions: tuple[str, ...]
    states: tuple[str, ...]
    cores: int
    cores_free: int
    memory_bytes: int
    memory_free_bytes: int
    gpus: Mapping[str, int]
    gpus_used: Mapping[str, int]
    features: tuple[str, ...]
    reason: str | None

    @property
    def takes_jobs(self) -> bool:
        """Whether Slurm starts anything new here."""
        return WORKING.issuperset(self.states)

    def free(self, gpu: str) -> int:
        """Return how many GPUs of a type no job has been given."""
        return max(0, self.gpus.get(gpu, 0) - self.gpus_used.get(gpu, 0))

    def usable(self, gpu: str, cores_each: int = 1, memory_each_bytes: int = 0) -> int:
        """Return how many free GPUs of a type could be had now, with so many cores and bytes each."""
        if not self.takes_jobs:
            return 0
        most = min(self.free(gpu), self.cores_free // cores_each)
        return min(most, self.memory_free_bytes // memory_each_bytes) if memory_each_bytes else most


@dataclass(frozen=True)
class Nodes:
    """What ``sinfo`` said: its nodes in order, and the lines that could not be read, as they came."""

    nodes: tuple[Node, ...]
    unread: tuple[str, ...]


def ask_nodes(partition: str | None = None) -> Nodes:
    """Return the nodes of this cluster, or of one partition. Raises WorkshopError as ``slurm.ask``."""
    wanted = ",".join(f"{name}:{width}" for name, width in COLUMNS.items())
    chosen = [f"--partition={partition}"] if partition else []
    return read_nodes(ask("sinfo", ["--Node", "--noheader", f"--Format={wanted}", *chosen]))


def read_nodes(text: str) -> Nodes:
    """Return the nodes in ``text``, which has a row for each node and partition."""
    nodes: dict[str, Node] = {}
    unread = []
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            node = _read(line)
        except ValueError:
            unread.append(line.strip())
            continue
        if earlier := nodes.get(node.name):
            node = Node(**{**vars(node), "partitions": (*earlier.partitions, *node.partitions)})
        nodes[node.name] = node
    return Nodes(tuple(nodes.values()), tuple(unread))


def _read(line: str) -> Node:
    cells, start = {}, 0
    for name, width in COLUMNS.items():
        cells[name] = line[start : start + width].strip()
        start += width
    _, idle, _, cores = map(int, cells["CPUsState"].split("/"))
    memory, given = int(cells["Memory"]), int(cells["AllocMem"])
    reason = cells["Reason"]
    if not cells["NodeList"]:
        raise ValueError(line)
    return Node(
        name=cells["NodeList"],
        partitions=(cells["Partition"].rstrip("*"),),
        states=tuple(state.strip("*~#!%$@^-+") for state in cells["StateLong"].lower().split("+")),
        cores=cores,
        cores_free=idle,
        memory_bytes=memory * MIB,
        memory_free_bytes=max(0, memory - given) * MIB,
        gpus=read_gpus(cells["Gres"]),
        gpus_used=read_gpus(cells["GresUsed"]),
        features=tuple(name for name in cells["Features"].split(",") if name not in NO_REASON),
        reason=None if reason.lower() in NO_REASON else reason,
    )


def read_gpus(gres: str) -> Counter[str]:
    """Return the GPUs of a ``Gres`` or ``GresUsed`` cell by type; one without a type is called ``gpu``.

    ``gpu:a100:8(S:0-1),gpu:1g.10gb:2`` has 8 of type a100 and 2 of type 1g.10gb.
    """
    found: Counter[str] = Counter()
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        match = re.fullmatch(r"gpu(?::([^:]+))?:(\d+)", entry.strip())
        if match:
            found[match[1] or "gpu"] += int(match[2])
    return found
