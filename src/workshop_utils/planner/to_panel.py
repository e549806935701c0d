"""A plan of the planner in JupyterLab's panel, beside what the GPUs of a node really hold."""

from collections.abc import Sequence

from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.memory.to_panel import planned
from workshop_utils.monitor.plan import write_plan
from workshop_utils.planner.plan import Plan
from workshop_utils.units import format_gib

RUNNERS = {"this workshop": "this workshop's runner"}


def show_plan_in_panel(plan: Plan) -> str:
    """Draw a plan's memory as a line on each GPU's chart in JupyterLab's panel; return what was drawn where.

    Of several nodes it is the first: its rank 0 stands on GPU 0, and so on. Raises WorkshopError where no
    Jupyter is installed.
    """
    ranks = ranks_of_a_node(plan, 0)
    write_plan(title_of(plan), planned(ranks))
    return (
        f"{title_of(plan)}: JupyterLab's panel on this machine shows it within seconds, "
        f"{sizes_of(ranks)} on {place_of(plan)}."
    )


def title_of(plan: Plan) -> str:
    """Return what was planned, in one line."""
    workload = plan.estimate.workload
    each = " on each replica" if plan.layout.copies > 1 else ""
    parts = [
        plan.estimate.model,
        f"{plan.gpus} × {plan.offer.name}",
        plan.layout.words() if plan.gpus > 1 else "",
        plan.dtype,
        f"{workload.batch:,} × {workload.tokens:,} tokens{each}",
        RUNNERS.get(plan.runner, plan.runner),
    ]
    return ", ".join(part for part in parts if part)


def ranks_of_a_node(plan: Plan, node: int) -> Sequence[GpuEstimate]:
    """Return the ranks that stand on a node, counted from 0; replicas follow one another."""
    each = plan.nodes.gpus_per_node
    return (plan.estimate.per_gpu * plan.layout.copies)[node * each : (node + 1) * each]


def sizes_of(ranks: Sequence[GpuEstimate]) -> str:
    """Return what the GPUs are planned to hold, such as ``70.1 GiB each``."""
    sizes = list(dict.fromkeys(format_gib(size) for size in sorted(rank.process_bytes for rank in ranks)))
    if len(sizes) > 1:
        return f"{sizes[0]} to {sizes[-1]}"
    return sizes[0] + (" each" if len(ranks) > 1 else "")


def place_of(plan: Plan) -> str:
    """Return the GPUs that are drawn, and of which nodes they are."""
    last, nodes = plan.nodes.gpus_per_node - 1, plan.nodes.nodes
    gpus = "GPU 0" if last == 0 else f"GPUs 0 {'and' if last == 1 else 'to'} {last}"
    if nodes == 1:
        return gpus
    held = {tuple(rank.needed for rank in ranks_of_a_node(plan, node)) for node in range(nodes)}
    return gpus + (
        f", the same on all {nodes} nodes" if len(held) == 1 else f" of the first of {nodes} nodes"
    )
