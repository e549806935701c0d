"""What a job asks of Slurm, made from a plan: nodes, GPUs, cores, memory, hours, and what it runs.

The rules stand here and nowhere else:

- **GPUs.** A replica's, on as few nodes as it takes. Several replicas are an array of jobs, one replica each:
  they start one by one, wherever that many GPUs become free.
- **Constraint.** Where GPUs talk (tensor or pipeline parallel, or several nodes), the site's nodes with fast
  links; else any of the type.
- **Hours.** The slow end of the plan's range times 1.3, and the start: what programs take until they load,
  and the weights at the pace of a shared file server. Rounded up to a quarter of an hour, never above the
  partition's limit.
- **CPU memory.** The weights that the node's GPUs hold, which pass through it, and 8 GB for each GPU's
  process; at least 16 GB for each GPU, never above a node's.
- **Cores.** The site's number for each GPU, never above a node's.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from workshop_utils.cluster.offers import MEMORY_EACH_BYTES
from workshop_utils.cluster.programs import Launcher, program_of
from workshop_utils.cluster.site import GpuNodes, Site
from workshop_utils.errors import WorkshopError
from workshop_utils.planner.layout import Layout, Nodes, place
from workshop_utils.planner.plan import Plan
from workshop_utils.units import GB, GIB, format_gb

MARGIN = 1.3
QUARTER_HOUR = 0.25
# Until weights are read: imports and CUDA contexts; vLLM besides compiles and captures graphs. Assumed.
START_S = {"transformers": 60, "vllm": 300}
# Assumed of a file server that many share: a third of what a cold load from a local disk reached (1.44 GB/s,
# notebooks/recorded/cold_load_one_h200.json).
LOAD_BYTES_PER_S = 0.5 * GB
PROCESS_BYTES = 8 * GB
MEMORY_STEP_GIB = 8
LOADED_IN_16_BITS = ("int8", "nf4", "fp4")
# Slurm's own alphabet for accounts is wider; centres use no more than this.
ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
MOST_NAME = 64


@dataclass(frozen=True)
class Request:
    """A job as Slurm sees it: ``gpus_per_node`` of ``group`` on each of ``nodes``, for at most ``hours``.

    ``memory_gib`` is CPU memory of a node in GiB, which is what Slurm's suffix G means. ``array``: so many
    jobs of this kind, None for one. ``command``: the words that run, started by ``launcher``; ``client``: the
    words that then use a server. ``notes`` become comments. Validates itself.
    """

    job_name: str
    group: GpuNodes
    nodes: int
    gpus_per_node: int
    hours: float
    cores_per_node: int
    memory_gib: int
    command: tuple[str, ...]
    launcher: Launcher = "srun"
    client: tuple[str, ...] = ()
    constraint: str | None = None
    account: str | None = None
    array: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("nodes", "gpus_per_node", "cores_per_node", "memory_gib", "array"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 10**6:
                raise WorkshopError(f"{name} {value} of a request is out of range; give 1 or more.")
        if not 0 < self.hours <= 10**5:
            raise WorkshopError(f"{self.hours:g} hours are no time for a job; give hours above 0.")
        if self.account is not None and not ACCOUNT.fullmatch(self.account):
            raise WorkshopError(
                f"account {self.account!r} is no Slurm account: letters, digits, _, - and . only; "
                "`sacctmgr show associations user=$USER format=account` lists yours."
            )

    @property
    def gpus(self) -> int:
        """GPUs of one job; an array has as many times more."""
        return self.nodes * self.gpus_per_node

    def as_json(self) -> dict[str, Any]:
        return {
            "job_name": safe_name(self.job_name),
            "gpu": self.group.name,
            "partition": self.group.partition.name,
            "nodes": self.nodes,
            "gpus_per_node": self.gpus_per_node,
            "hours": self.hours,
            "cores_per_node": self.cores_per_node,
            "memory_gib": self.memory_gib,
            "constraint": self.constraint,
            "account": self.account,
            "array": self.array,
            "launcher": self.launcher,
            "command": list(self.command),
        }


def request_of(
    plan: Plan, site: Site, account: str | None = None, hours: float | None = None, model: str | None = None
) -> Request:
    """Return the request of a plan by the rules above. ``hours`` instead of the rule's.

    ``model`` is what the job's command calls the model, such as a folder; default: the architecture's name.

    Raises WorkshopError for an account that is none, or more hours than the partition has.
    """
    group = site.nodes_of(plan.offer.name)
    layout = plan.layout.replica()
    nodes = nodes_of(layout, plan)
    talking = layout.replica_gpus > 1
    program = program_of(plan, nodes.nodes, model or plan.wanted.architecture.name)
    most = group.partition.most_hours
    if hours is not None and hours > most:
        raise WorkshopError(
            f"{hours:g} hours are more than partition {group.partition.name} has; give at most {most:g}."
        )
    return Request(
        job_name=plan.wanted.architecture.name,
        group=group,
        nodes=nodes.nodes,
        gpus_per_node=nodes.gpus_per_node,
        hours=hours_of(plan, most) if hours is None else hours,
        cores_per_node=cores_of(nodes.gpus_per_node, group, site),
        memory_gib=memory_of(nodes.gpus_per_node, plan, group),
        command=program.command,
        launcher=program.launcher,
        client=program.client,
        constraint=(group.fast_constraint if talking else None) or group.constraint,
        account=account,
        array=plan.layout.copies if plan.layout.copies > 1 else None,
        notes=(*notes_of(plan, most, hours, program.loads_weights), *program.notes),
    )


def nodes_of(replica: Layout, plan: Plan) -> Nodes:
    """Return the nodes of one replica."""
    placed = place(replica, plan.offer)
    if isinstance(placed, str):
        raise WorkshopError(f"{replica.words()} on {plan.offer.name} cannot be asked for: {placed}.")
    return placed


def hours_needed(plan: Plan) -> float:
    """Return the hours of the slow end of the range, with margin and start."""
    # What proves a plan runs a batch twice, the first to warm up.
    batch_s = plan.ttft_s + max(0, plan.wanted.new_tokens - 1) * plan.tpot_s
    slowest = max(plan.seconds, 2 * batch_s) * plan.tokens_per_s / plan.low
    start = START_S[plan.wanted.engine] + read_bytes(plan) / LOAD_BYTES_PER_S
    return (slowest * MARGIN + start) / 3600


def hours_of(plan: Plan, most: float) -> float:
    """Return them in quarters of an hour, within the partition's limit."""
    return min(most, math.ceil(hours_needed(plan) / QUARTER_HOUR) * QUARTER_HOUR)


def read_bytes(plan: Plan) -> int:
    """Return the bytes that loading reads: bitsandbytes makes its few bits from published 16."""
    if plan.dtype in LOADED_IN_16_BITS:
        return 2 * plan.estimate.parameters
    return plan.estimate.weights_bytes


def cores_of(gpus: int, group: GpuNodes, site: Site) -> int:
    wanted = site.cores_per_gpu * gpus
    return wanted if group.cores is None else min(wanted, group.cores)


def memory_of(gpus: int, plan: Plan, group: GpuNodes) -> int:
    """Return the CPU memory of a node, in GiB."""
    share = gpus / plan.layout.replica_gpus
    wanted = max(gpus * MEMORY_EACH_BYTES, plan.estimate.weights_bytes * share + gpus * PROCESS_BYTES)
    rounded = math.ceil(wanted / GIB / MEMORY_STEP_GIB) * MEMORY_STEP_GIB
    return rounded if group.memory_bytes is None else min(rounded, group.memory_bytes // GIB)


def notes_of(plan: Plan, most: float, hours: float | None, loads_weights: bool) -> tuple[str, ...]:
    """Return what a reader should know of the plan, a sentence each."""
    loaded = f"; {format_gb(read_bytes(plan))} of weights are loaded before" if loads_weights else ""
    each = "each of them" if plan.layout.copies > 1 else "it"
    slow = plan.seconds * plan.tokens_per_s / plan.low / 3600
    notes = [
        plan.why,
        f"Expected: {plan.tokens_per_s:.0f} tokens/s ({plan.low:.0f} to {plan.high:.0f}, {plan.certainty}), "
        f"so {each} takes {duration(plan.seconds / 3600)}, at the slow end {duration(slow)}{loaded}.",
    ]
    needed = hours_needed(plan)
    given = hours or most
    if needed > given:
        notes.append(
            f"The slow end with its margin is {needed:.1f} h, and the job ends after {given:g} h: write "
            "answers down as they come, or take a plan with more GPUs."
        )
    return tuple(notes)


def duration(hours: float) -> str:
    """Return such as ``40 s``, ``12 min`` or ``3.5 h``."""
    if hours < 1 / 40:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h"


def safe_name(name: str) -> str:
    """Return a job's name in letters, digits, ``.``, ``_`` and ``-``: Slurm also makes a file name of it."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    return kept[:MOST_NAME].rstrip("-.") or "job"
