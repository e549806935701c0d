"""What a site offers to the planner: its GPUs under its limits, and how many are free if Slurm was asked."""

from collections.abc import Sequence

from workshop_utils.cluster.nodes import Node
from workshop_utils.cluster.site import GpuNodes, Site
from workshop_utils.planner.offer import Offer
from workshop_utils.units import GB

# What a request asks of a node beside each GPU, where nobody says more.
MEMORY_EACH_BYTES = 16 * GB


def offers(site: Site, nodes: Sequence[Node] | None = None) -> tuple[Offer, ...]:
    """Return an offer for each type of GPU of the site. ``nodes``: what Slurm says is there now."""
    return tuple(offer_of(site, each, nodes) for each in site.gpus)


def offer_of(site: Site, group: GpuNodes, nodes: Sequence[Node] | None = None) -> Offer:
    """Return the offer of one type."""
    partition = group.partition
    unlimited = group.nodes * group.per_node
    most_nodes = min(limit for limit in (site.most_nodes, partition.most_nodes, group.nodes) if limit)
    most_gpus = min(limit for limit in (site.most_gpus, partition.most_gpus, unlimited) if limit)
    usable = None
    if nodes is not None:
        having = [node for node in nodes if matches(node, group)]
        usable = [node.usable(group.type, site.cores_per_gpu, MEMORY_EACH_BYTES) for node in having]
    return Offer(
        name=group.name,
        gpu=group.gpu,
        per_node=group.per_node,
        nodes=group.nodes,
        most_gpus=most_gpus,
        most_nodes=most_nodes,
        most_hours=partition.most_hours,
        link=group.link,  # type: ignore[arg-type]
        network_gb_per_s=group.network_gb_per_s,
        whole_nodes=group.whole_nodes,
        scarce=group.scarce,
        free_by_node=None if usable is None else tuple(usable),
        absent=usable == [],
        slice_of=group.slice_of,
    )


def matches(node: Node, group: GpuNodes) -> bool:
    """Return whether a node has this type of GPU, in the type's partition and with its feature."""
    feature = group.constraint
    return (
        group.type in node.gpus
        and group.partition.name in node.partitions
        and (feature is None or feature in node.features)
    )
