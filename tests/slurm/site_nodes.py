"""A site file as the nodes and partitions of ``cluster.sh``, few enough for one machine.

SITE=uva; eval "$(python tests/slurm/site_nodes.py $SITE)"; tests/slurm/cluster.sh start
"""

import shlex
import sys

from workshop_utils.cluster.site import GpuNodes, Site, find_site
from workshop_utils.units import GIB

# Where the site file says nothing of a node: as much for each of its GPUs as small nodes have.
CORES_EACH, MEMORY_EACH_GIB = 4, 32
MIB_IN_GIB = 1024


def settings_of(site: Site, port: int | None = None) -> dict[str, str]:
    """Return the variables of ``cluster.sh`` for a site: of a kind, one node more than a job may have."""
    nodes = [line for group in site.gpus for line in lines_of(group, (site.most_nodes or 4) + 1)]
    partitions = []
    for number, part in enumerate(site.partitions):
        default = "YES" if site.default_partition and number == 0 else "NO"
        most = part.most_nodes or site.most_nodes or 4
        limit = part.most_gpus or site.most_gpus or ""
        partitions.append(f"{part.name}:{round(part.most_hours * 60)}:{most}:{default}:{limit}")
    ports = {} if port is None else {"SLURM_FIXTURE_PORT": str(port)}
    return {
        "SLURM_FIXTURE_NODES": "\n".join(nodes),
        "SLURM_FIXTURE_PARTITIONS": "\n".join(partitions),
        **ports,
    }


def lines_of(group: GpuNodes, most: int) -> list[str]:
    """Return a line for each node: name, type, GPUs, cores, MiB, features, partition."""
    cores = group.cores or group.per_node * CORES_EACH
    memory = group.memory_bytes // GIB if group.memory_bytes else group.per_node * MEMORY_EACH_GIB
    named = (group.type, group.constraint, group.fast_constraint)
    features = ",".join(dict.fromkeys(name for name in named if name))
    stem = "".join(letter if letter.isalnum() else "-" for letter in group.name.lower())
    return [
        f"{stem}-{number}:{group.type}:{group.per_node}:{cores}:{memory * MIB_IN_GIB}:{features}:"
        f"{group.partition.name}"
        for number in range(1, min(group.nodes, most) + 1)
    ]


if __name__ == "__main__":
    for variable, value in settings_of(find_site(sys.argv[1])).items():
        print(f"export {variable}={shlex.quote(value)}")
