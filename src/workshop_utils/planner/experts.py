"""Where whole experts on each rank (expert parallel) gain something that cutting every expert does not.

Both need about the same memory, so of a layout that works either way only the usual one is listed. Whole
experts gain where tensor ranks would cut an expert into no whole part, or one of no whole groups; and with
latent attention, whose cache every tensor rank keeps in full: there engines that run attention for their own
prompts, and have only the experts in common, keep every token once.
"""

from collections.abc import Iterator

from workshop_utils.memory.layout_check import first_obstacle
from workshop_utils.memory.vllm.experts import cut_obstacle, most_ranks
from workshop_utils.models.architecture import Architecture
from workshop_utils.planner.layout import Layout, most_of_a_job, sizes_up_to
from workshop_utils.planner.offer import Offer
from workshop_utils.planner.work import caches_latents


def expert_layouts(architecture: Architecture, offer: Offer, dtype: str) -> list[Layout]:
    """Return the replicas of an offer with whole experts, where they gain something, fewest GPUs first.

    Also engines over a node's size: a reader who wonders why is told.
    """
    most = min(most_of_a_job(offer), most_ranks(architecture))
    found = set(uncut(architecture, dtype, min(most, offer.per_node)))
    if caches_latents(architecture):
        found |= set(engines_with_own_cache(architecture, most))
    return sorted(found, key=lambda layout: (layout.gpus, layout.tensor))


def uncut(architecture: Architecture, dtype: str, most: int) -> Iterator[Layout]:
    """Yield the tensor parallel sizes that only the experts forbid, with whole ones."""
    for ranks in sizes_up_to(most):
        cuttable = not first_obstacle(architecture, ranks) and not cut_obstacle(architecture, dtype, ranks)
        if not cuttable and not first_obstacle(architecture, ranks, True):
            yield Layout(tensor=ranks, expert=ranks)


def engines_with_own_cache(architecture: Architecture, most: int) -> Iterator[Layout]:
    """Yield several engines of one or more tensor ranks each, that share the experts."""
    for ranks in sizes_up_to(most):
        for tensor in sizes_up_to(ranks // 2):
            if not first_obstacle(architecture, tensor, True):
                yield Layout(data=ranks // tensor, tensor=tensor, expert=ranks)
