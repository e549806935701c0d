"""Where a site file and its cluster differ, and what of a draft is not done."""

import re
from collections.abc import Iterator, Sequence

from workshop_utils.cluster.nodes import Node
from workshop_utils.cluster.offers import matches
from workshop_utils.cluster.partitions import YEAR_HOURS, PartitionLimits
from workshop_utils.cluster.site import GpuNodes, Partition, Site
from workshop_utils.units import GB

MARK = re.compile(r"#\s*CHECK\b")
# Of a node's memory some is the system's, and a file may round: differences below this share are none.
MEMORY_SHARE = 0.1


def marks(text: str) -> str:
    """Return which CHECK marks a draft still has, and where; nothing where it has none."""
    lines = [str(number) for number, line in enumerate(text.splitlines(), 1) if MARK.search(line)]
    if not lines:
        return ""
    *first, last = lines
    where = f"lines {', '.join(first)} and {last}" if first else f"line {last}"
    count = f"{len(lines)} CHECK marks are" if first else "1 CHECK mark is"
    return f"{count} left, {where}: correct what stands there, then take the mark away."


def compare(site: Site, nodes: Sequence[Node], partitions: Sequence[PartitionLimits]) -> list[str]:
    """Return where a site file and a cluster differ, a sentence each."""
    found: list[str] = []
    for group in site.gpus:
        having = [node for node in nodes if matches(node, group)]
        if having:
            found += compare_nodes(group, having)
        else:
            feature = f" and the feature {group.constraint}" if group.constraint else ""
            found.append(
                f"{group.name}: no node of partition {group.partition.name} has gpu:{group.type}{feature}."
            )
    known = set(site.types)
    for unknown in dict.fromkeys(gpu for node in nodes for gpu in node.gpus if gpu not in known):
        found.append(f"Slurm has GPUs of type {unknown}, which the file does not.")
    limits = {each.name: each for each in partitions}
    for partition in site.partitions:
        if partition.name in limits:
            found += compare_limits(partition, site, limits[partition.name])
        else:
            found.append(f"Slurm has no partition {partition.name}.")
    return found


def compare_nodes(group: GpuNodes, having: Sequence[Node]) -> Iterator[str]:
    """Yield where the nodes of one type are others than the file says."""
    if len(having) != group.nodes:
        yield f"{group.name}: the file says {group.nodes} nodes, Slurm has {len(having)}."
    counts = sorted({node.gpus[group.type] for node in having})
    if counts != [group.per_node]:
        yield f"{group.name}: the file says {group.per_node} GPUs a node, Slurm has {either(counts)}."
    cores = sorted({node.cores for node in having})
    if group.cores is not None and group.cores not in cores:
        yield f"{group.name}: the file says {group.cores} cores a node, Slurm has {either(cores)}."
    sizes = sorted({node.memory_bytes for node in having})
    said = group.memory_bytes
    if said is not None and all(abs(size - said) > MEMORY_SHARE * size for size in sizes):
        there = either([round(size / GB) for size in sizes])
        yield f"{group.name}: the file says {said / GB:.0f} GB of memory a node, Slurm has {there}."


def compare_limits(partition: Partition, site: Site, limits: PartitionLimits) -> Iterator[str]:
    """Yield which limits are others; the file's may be a QOS's where Slurm's partition has none."""
    hours = limits.most_hours
    if partition.most_hours != hours and hours < YEAR_HOURS:
        yield f"{partition.name}: the file says {partition.most_hours:g} hours, Slurm has {hours:g}."
    said, nodes = partition.most_nodes or site.most_nodes, limits.most_nodes
    if nodes is not None and (said is None or said > nodes):
        yield f"{partition.name}: the file says {said or 'nothing of the'} nodes of a job, Slurm has {nodes}."


def either(values: Sequence[int]) -> str:
    return " or ".join(map(str, values))
