"""Why a plan stands where it stands, and what to do where nothing on an offer works: one sentence each."""

from collections.abc import Iterator, Sequence

from workshop_utils.planner.plan import Plan, Refusal
from workshop_utils.planner.precision import HALF, HALF_IN_RANGE
from workshop_utils.planner.work import caches_latents
from workshop_utils.units import format_gib

SIXTEEN_BITS = ("bfloat16", "float16", "float32")
# A prediction is off by up to 2 % where it was measured: above this share of a GPU a run may still fail.
ROOMY = 0.97


def explained(plans: Sequence[Plan], refused: list[Refusal]) -> Iterator[Plan]:
    """Yield the plans with their sentence; refusals without a way out get the best plan as theirs."""
    from dataclasses import replace

    smallest = smallest_whole(plans)
    for plan in plans:
        yield replace(plan, why=why(plan, smallest))
    best = plans[0] if plans else None
    # Offers on which float16 was tried and no layout of it works.
    without = {each.offer.name for each in refused if each.dtype == HALF} - {
        plan.offer.name for plan in plans if plan.dtype == HALF
    }
    for number, refusal in enumerate(refused):
        half = refusal.nearest in (HALF, HALF_IN_RANGE)
        if not refusal.nearest or (half and refusal.offer.name in without):
            refused[number] = replace(refusal, nearest=elsewhere(refusal, plans, best))


def smallest_whole(plans: Sequence[Plan]) -> int | None:
    """Return the usable bytes of the smallest GPU that holds the model in 16 bits alone."""
    sizes = [plan.offer.gpu.usable_bytes for plan in plans if plan.gpus == 1 and plan.dtype in SIXTEEN_BITS]
    return min(sizes, default=None)


def elsewhere(refusal: Refusal, plans: Sequence[Plan], best: Plan | None) -> str:
    """Return what works instead: this type of GPU in fewer bits, else the best plan of all."""
    for plan in plans:
        if plan.offer == refusal.offer:
            return f"{plan.dtype} on {counted(plan)}"
    if best:
        return f"{counted(best)} in {best.dtype}"
    return "fewer tokens, a smaller batch, fewer bits or a smaller model"


def counted(plan: Plan) -> str:
    """Return such as ``2 × A40 (TP 2)``."""
    if plan.gpus == 1:
        return f"one {plan.offer.name}"
    return f"{plan.gpus} × {plan.offer.name} ({plan.layout.words()})"


def why(plan: Plan, smallest: int | None) -> str:
    """Return one sentence: why so many of this type, in this precision."""
    needed = format_gib(plan.estimate.fullest.process_bytes)
    usable = format_gib(plan.offer.gpu.usable_bytes)
    name = plan.offer.name
    if plan.gpus == 1:
        first = plan.offer.gpu.usable_bytes == smallest and plan.dtype in SIXTEEN_BITS
        alone = "is the smallest GPU here that holds" if first else "holds"
        said = f"One {name} {alone} it whole in {plan.dtype} ({needed} of {usable}), so nothing is sent"
    elif plan.layout.replica_gpus == 1:
        said = f"It fits one {name} ({needed} of {usable}); {plan.layout.copies} copies share the prompts"
    else:
        said = f"{split_words(plan)} ({needed} of {usable} on the fullest)"
        if plan.layout.copies > 1:
            said += f", and {plan.layout.copies} such copies share the prompts"
    return f"{said}{beside(plan)}."


def split_words(plan: Plan) -> str:
    """Return how a replica is split, and over what."""
    name, layout = plan.offer.name, plan.layout
    link = "NVLink" if plan.offer.link == "nvlink" else "PCIe, slower than NVLink"
    if layout.engines > 1:
        alone = layout.tensor == 1
        each = "each run attention" if alone else f"run attention in groups of {layout.tensor}"
        keep = "one GPU keeps" if alone else f"{layout.tensor} keep"
        return (
            f"{layout.expert} {name} {each} for their own prompts and have whole experts in common over "
            f"{link}: {keep} a prompt's latent cache, which TP {layout.expert} would copy to all"
        )
    if layout.expert > 1:
        return (
            f"{layout.tensor} {name} share all but the experts over {link}, and hold some of those whole, as "
            "so many ranks cannot cut one"
        )
    if layout.pipeline == 1:
        return f"{layout.tensor} {name} share every layer over {link}"
    if layout.tensor == 1:
        return f"{layout.pipeline} {name} take a part of the layers each, which sends little"
    return (
        f"{layout.pipeline} stages take a part of the layers each, and {layout.tensor} {name} share each "
        f"stage over {link}"
    )


def about_experts(plan: Plan) -> str:
    """Return what whole experts would change for a plan that cuts them, nothing where it has none to cut."""
    architecture, layout = plan.wanted.architecture, plan.layout
    mixture = any(layer.experts for layer in architecture.layers)
    if not mixture or plan.wanted.engine != "vllm" or layout.tensor == 1 or layout.expert > 1:
        return ""
    if caches_latents(architecture) and layout.pipeline == 1:
        return (
            f"each of {layout.tensor} keeps the whole latent cache: DP with EP would not, which pays for "
            "many long prompts"
        )
    return "expert parallel (EP) would need about the same memory"


def beside(plan: Plan) -> str:
    """Return what else a reader should weigh."""
    parts = [said for said in (about_experts(plan),) if said]
    if plan.dtype not in SIXTEEN_BITS and plan.dtype != plan.wanted.architecture.stored_as:
        parts.append("fewer bits: compare the answers first")
    if plan.dtype == "float16":
        parts.append("float16, which a model must keep to the range of")
    if plan.estimate.fullest.process_bytes > ROOMY * plan.offer.gpu.usable_bytes:
        parts.append("hardly any room is left")
    if plan.starts_now:
        parts.append("free now")
    elif plan.offer.absent:
        parts.append("this Slurm has none")
    elif plan.starts_now is False:
        parts.append("not free now")
    if plan.offer.scarce:
        parts.append("a type that many wait for")
    if not plan.in_time:
        deadline = plan.wanted.deadline_hours
        limit = f"the {deadline:g} h you have" if deadline else f"the partition's {plan.offer.most_hours:g} h"
        parts.append(f"takes {plan.seconds / 3600:.1f} h, and may take longer than {limit}")
    return "".join(f"; {part}" for part in parts)
