"""What to ask for next time: a sentence for each thing of which a job used far less, or more, than it had."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop_utils.cluster.job_usage import JobUsage
from workshop_utils.cluster.nodes import Node
from workshop_utils.cluster.offers import offers
from workshop_utils.cluster.site import Site
from workshop_utils.planner.offer import Offer
from workshop_utils.units import GIB, format_gib

# Below these shares, less would have done; what is asked for next leaves room above what was used.
LITTLE_CPU, LITTLE_MEMORY, LITTLE_TIME, LITTLE_GPU = 0.5, 0.5, 0.5, 20.0
ROOM = 1.25
# A process is killed when it asks for more, so what was last seen may lie a little below the limit.
KILLED_SHARE = 0.9
SHORT_S, LONG_S = 60, 3600


@dataclass(frozen=True)
class GpuUse:
    """What a recorded trace shows of one GPU: peak bytes of those it has, mean busy percent."""

    name: str
    peak_bytes: int | None
    total_bytes: int | None
    busy_percent: float | None


def gpu_uses(summaries: Sequence[Mapping[str, Any]]) -> list[GpuUse]:
    """Return them from ``monitor.trace_summary.gpu_summaries``."""
    return [
        GpuUse(
            str(each["name"]), each["peak_memory_bytes"], each["memory_total_bytes"],
            each["mean_utilization_percent"],
        )
        for each in summaries
    ]  # fmt: skip


def advice(
    usage: JobUsage,
    gpus: Sequence[GpuUse] = (),
    site: Site | None = None,
    nodes: Sequence[Node] | None = None,
) -> list[str]:
    """Return what to change, the most pressing first; empty where the request was about right."""
    found = [*why_it_ended(usage)]
    if usage.state == "COMPLETED" or usage.elapsed_s >= SHORT_S:
        found += [*other_than_asked(usage, ended_well=usage.state == "COMPLETED")]
    return [*found, *gpu_advice(usage, gpus, site, nodes)]


def why_it_ended(usage: JobUsage) -> Iterator[str]:
    """Yield the explanation of a job that did not end well."""
    used, had = usage.most_rss_bytes, usage.memory_bytes
    near = used is not None and had is not None and used >= KILLED_SHARE * had
    if usage.memory_killed or (usage.state == "FAILED" and near):
        what = "A step of it" if usage.state == "COMPLETED" else "It"
        held = "" if had is None else f" of {format_gib(had)}"
        more = "" if had is None else f", for example --mem={whole_gib(2 * had / usage.nodes)}G a node"
        yield (
            f"{what} was ended because it used all of its CPU memory{held} (not GPU memory): ask for "
            f"more{more}, or load the weights without a second copy in main memory (device_map)."
        )
    elif usage.state == "TIMEOUT":
        yield (
            f"It was ended at its time limit of {hours(usage.limit_s or usage.elapsed_s)}: ask for more with "
            "--time, or keep results as they come and go on from there."
        )
    elif usage.state == "FAILED":
        yield f"It failed with exit code {usage.exit_code}: the last lines of its output say why."
    elif usage.state in ("NODE_FAIL", "PREEMPTED"):
        yield "The node, not the job, was the cause: submit it again."


def other_than_asked(usage: JobUsage, *, ended_well: bool) -> Iterator[str]:
    """Yield where less would have done, or more was taken than asked for."""
    cpu = usage.cpu_share
    if cpu is not None and cpu < LITTLE_CPU and usage.cores > usage.nodes:
        busy = max(usage.nodes, round(cpu * usage.cores * ROOM + 0.5))
        yield (
            f"It kept {cpu * usage.cores:.1f} of {usage.cores} cores busy: {min(busy, usage.cores)} would "
            "have done, unless a short part of it needs them all."
        )
    yield from memory_advice(usage, ended_well=ended_well)
    limit = usage.limit_s or 0
    if ended_well and limit > LONG_S and usage.elapsed_s < LITTLE_TIME * limit:
        yield (f"It took {hours(usage.elapsed_s)} of {hours(limit)}: a shorter --time often starts sooner.")


def memory_advice(usage: JobUsage, *, ended_well: bool) -> Iterator[str]:
    """Yield what to ask for where CPU memory was far from it."""
    share, used, had = usage.memory_share, usage.most_rss_bytes, usage.memory_bytes
    # Of the memory of a step that was ended at once, Slurm may have seen little.
    if share is None or used is None or had is None or usage.memory_killed:
        return
    enough = whole_gib(used * ROOM)
    if share > 1 and ended_well:
        # Where the centre does not hold jobs to it; elsewhere such a job is ended.
        yield (
            f"It used {format_gib(used)} of CPU memory and had asked for {format_gib(had)}: ask for "
            f"--mem={enough}G, or it takes what is another job's."
        )
    if 0 < share < LITTLE_MEMORY and enough < had / GIB:
        yield (
            f"It used {format_gib(used)} of {format_gib(had)} of CPU memory: --mem={enough}G would have "
            "done, and finds more nodes."
        )


def gpu_advice(
    usage: JobUsage, gpus: Sequence[GpuUse], site: Site | None, nodes: Sequence[Node] | None
) -> Iterator[str]:
    """Yield what the trace of the job's GPUs tells."""
    idle = [each for each in gpus if each.busy_percent is not None and each.busy_percent < LITTLE_GPU]
    if idle:
        yield (
            f"{len(idle)} of {len(gpus)} GPUs were busy less than {LITTLE_GPU:.0f} % of the time: batch more "
            "prompts together, or use fewer GPUs."
        )
    peaks = [each.peak_bytes for each in gpus if each.peak_bytes is not None]
    totals = [each.total_bytes for each in gpus if each.total_bytes is not None]
    if not peaks or not totals or site is None:
        return
    peak, total = max(peaks), min(totals)
    having = (
        offer
        for offer in offers(site, nodes)
        if len(gpus) <= offer.most_gpus and usage.elapsed_s <= offer.most_hours * 3600
    )
    smaller = smaller_offer(having, peak, total)
    if smaller:
        yield (
            f"Its GPUs held {format_gib(peak)} of {format_gib(total)}: {smaller.name}, with "
            f"{format_gib(smaller.gpu.usable_bytes)}, would have done{queue_words(smaller)}."
        )


def smaller_offer(having: Iterable[Offer], peak: int, total: int) -> Offer | None:
    """Return the smallest type that holds the peak with a little room, if smaller than it was.

    A trace does not tell the precision, which mostly is bfloat16: types without it are left out.
    """
    enough = [
        offer
        for offer in having
        if peak * 1.05 <= offer.gpu.usable_bytes < 0.9 * total and not offer.scarce and offer.gpu.native_bf16
    ]
    return min(enough, key=lambda offer: offer.gpu.usable_bytes, default=None)


def queue_words(offer: Offer) -> str:
    if offer.free is None:
        return ", and fewer people wait for it"
    return f", and {offer.free} are free now" if offer.free else ", though none is free now"


def whole_gib(size_bytes: float) -> int:
    """Return whole GiB, at least one."""
    return max(1, round(size_bytes / GIB + 0.5))


def hours(seconds: float) -> str:
    """Return seconds in the unit in which they are read."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
