"""The draft of a site file, from what Slurm says of its nodes and partitions; a person completes it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from workshop_utils.cluster.nodes import Node
from workshop_utils.cluster.partitions import PartitionLimits
from workshop_utils.cluster.shell_words import comment
from workshop_utils.hardware.catalogue import Gpu, load_gpus, plain
from workshop_utils.units import GB

CHOOSE = "CHOOSE"
# GB/s of NVLink that only modules on a server's board have (V100 SXM2: 300).
NVLINK_IN_THE_NODE = 300
HEADER = """\
# {title}: a draft from what Slurm said. What it cannot know is marked CHECK; `workshop site check {file}`
# tells what is still wrong. Every field is explained by `workshop site fields`.
schema = 1
name = {name}
title = {title_text}
# CHECK: the newest PyTorch build that the driver runs and that has code for the oldest GPU here.
# torch_build = "cu130"

[slurm]
# CHECK: whether jobs must name an account, and the limits of one job (QOS), which Slurm's text does not tell.
account_required = false
default_partition = {default}
# most_gpus = 8
# most_nodes = 4
cores_per_gpu = {cores_per_gpu}
"""
FOOTER = """
# CHECK: the labels of your Open OnDemand form, word for word; leave this out if there is none.
# [open_ondemand]
# url = "https://ondemand.example.org"
# partition = "Partition"
# hours = "Number of hours"
# gpu_type = "GPU type"
# gpus = "Number of GPUs"
# most_gpus = 4

[caches]
# CHECK: a folder of the reader's own off the home quota.
scratch = "/scratch/$USER"
"""


@dataclass(frozen=True)
class Group:
    """Nodes that a job cannot tell apart: the same GPUs, cores, memory and partition."""

    type: str
    partition: str
    per_node: int
    cores: int
    memory_bytes: int
    feature: str | None


def draft(
    name: str,
    title: str,
    nodes: Sequence[Node],
    partitions: Sequence[PartitionLimits],
    file: str | None = None,
) -> str:
    """Return the text of a site file for the nodes with GPUs. ``file``: what it will be called."""
    groups = grouped(nodes)
    used = {group.partition for group in groups}
    fewest = min((group.cores // group.per_node for group in groups), default=4)
    parts = [
        HEADER.format(
            title=comment(title), file=comment(file or f"{name}.toml"), name=toml_text(name),
            title_text=toml_text(title),
            default=str(any(each.default for each in partitions)).lower(), cores_per_gpu=max(1, fewest),
        )
    ]  # fmt: skip
    parts += [partition_text(each) for each in partitions if each.name in used]
    names: Counter[str] = Counter()
    for group, count in groups.items():
        parts.append(group_text(group, count, names))
    return "".join(parts) + FOOTER


def toml_text(text: str) -> str:
    """Return text for TOML: as in JSON, but for characters that JSON writes as two halves, and for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def grouped(nodes: Sequence[Node]) -> Counter[Group]:
    """Return how many nodes there are of each kind, largest memory and newest names first as they come."""
    found: Counter[Group] = Counter()
    for node in nodes:
        for gpu, count in node.gpus.items():
            # The feature that says more than the type: a100_80gb beside a100.
            feature = next(
                (name for name in node.features if plain(gpu) in plain(name) and name != gpu), None
            )
            for partition in node.partitions:
                found[Group(gpu, partition, count, node.cores, node.memory_bytes, feature)] += 1
    return found


def partition_text(partition: PartitionLimits) -> str:
    """Return a partition's table."""
    lines = ["", "[[partitions]]", f"name = {toml_text(partition.name)}"]
    lines.append(f"most_hours = {partition.most_hours:g}")
    if partition.most_nodes:
        lines.append(f"most_nodes = {partition.most_nodes}")
    return "\n".join(lines) + "\n"


def group_text(group: Group, count: int, names: Counter[str]) -> str:
    """Return the table of one kind of node; a second one of the same GPU gets a number."""
    gpu = guess(group)
    base = gpu.name if gpu else group.type
    names[base] += 1
    name = base if names[base] == 1 else f"{base} {names[base]}"
    lines = ["", "[[gpus]]", f"name = {toml_text(name)}"]
    if gpu is None:
        choices = ", ".join(each.name for each in load_gpus())
        lines.append(f"# CHECK: Slurm calls it {group.type}; which of these is it? {choices}")
    lines.append(f"gpu = {toml_text(gpu.name if gpu else CHOOSE)}")
    lines.append(f"type = {toml_text(group.type)}")
    if group.feature:
        lines.append(f"constraint = {toml_text(group.feature)}")
    lines += [
        f"partition = {toml_text(group.partition)}",
        f"nodes = {count}",
        f"per_node = {group.per_node}",
        f"cores = {group.cores}",
        f"memory_gb = {group.memory_bytes / GB:.0f}",
        "# CHECK: nvlink or pcie between the GPUs of a node (`nvidia-smi topo -m` shows it).",
        f"link = {toml_text(link_of(gpu))}",
    ]
    return "\n".join(lines) + "\n"


def link_of(gpu: Gpu | None) -> str:
    """Return what nodes with a type mostly have; workstation cards have NVLink by a bridge only."""
    return "nvlink" if gpu and (gpu.nvlink_gb_per_s or 0) >= NVLINK_IN_THE_NODE else "pcie"


def guess(group: Group) -> Gpu | None:
    """Return the catalogue's type that Slurm's name means, None where it could be several or none."""
    wanted = plain(group.type)
    gpus = load_gpus()
    exact = [gpu for gpu in gpus if plain(gpu.name) == wanted]
    alike = exact or [gpu for gpu in gpus if plain(gpu.name).startswith(wanted)]
    if len(alike) > 1 and group.feature:
        size = [gpu for gpu in alike if f"{gpu.marketed_gb}gb" in group.feature.casefold()]
        alike = size or alike
    return alike[0] if len(alike) == 1 else None
