"""The planner's answers as ``workshop plan`` prints them: plans in a table, why, and what does not work."""

import argparse
import shlex
import textwrap

from workshop_utils.cluster.gpus_command import print_table
from workshop_utils.cluster.site import Site
from workshop_utils.planner.plan import Plan, Planning, Refusal
from workshop_utils.units import format_gib

SHOWN = 10
WIDTH = 110
PROGRAMS = {"this workshop": "workshop"}
LEGEND = (
    "TP: GPUs that share every layer. PP: GPUs with a part of the layers each. DP: copies that share the "
    "prompts. EP: GPUs that hold whole experts each, in common. tokens/s are of the answers, prompts "
    "included. Program workshop: this workshop's runner (`workshop bench run`), some four times as fast as "
    "plain transformers."
)
HEADERS = (
    "", "GPUs", "split", "precision", "program", "batch", "fullest GPU", "tokens/s", "time", "GPU-hours",
    "free",
)  # fmt: skip


def print_text(planning: Planning, site: Site, arguments: argparse.Namespace) -> None:
    """Print what works, why, and what does not."""
    print(wrapped(f"{heading(planning)}, at {site.title}:"), end="\n\n")
    if not planning.plans:
        print(wrapped(f"Nothing works.{closest_words(planning)}"))
    shown = planning.plans if arguments.all else planning.plans[:SHOWN]
    if shown:
        if late := late_words(planning):
            print(wrapped(late), end="\n\n")
        print_plans(shown)
        print(f"\n{wrapped(LEGEND)}\n")
        for number, plan in enumerate(shown[: None if arguments.all else 3], 1):
            print(wrapped(f"{number}. {plan.why}", subsequent_indent="   "))
    refused = planning.refused if arguments.all else first_of_each(planning)
    if refused:
        print("\nWhat does not work, and the nearest that does:")
        for refusal in refused:
            print(wrapped(refusal_words(refusal), initial_indent="  ", subsequent_indent="    "))
    if last := closing(planning, len(shown), len(refused), given(arguments)):
        print(f"\n{wrapped(last)}")


def given(arguments: argparse.Namespace) -> str:
    """Return the options that describe what is wanted, to be typed again."""
    words = [arguments.model]
    for name in ("tokens", "new_tokens", "prompts", "batch", "deadline", "engine", "site", "torch_build"):
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    for name in ("dtype", "gpu"):
        words += [word for value in getattr(arguments, name) or () for word in (f"--{name}", value)]
    return shlex.join(words)


def late_words(planning: Planning) -> str:
    """Return that nothing keeps the deadline, and what comes closest; nothing where a plan does."""
    if any(plan.in_time for plan in planning.plans):
        return ""
    best = min(planning.plans, key=lambda plan: plan.seconds)
    deadline = planning.wanted.deadline_hours
    wanted = f"{deadline:g} h" if deadline else "the time limit of its partition"
    return (
        f"No plan surely keeps {wanted}; the fastest is {best.gpus} × {best.offer.name} "
        f"({best.layout.words()}, {best.dtype}) with {hours(best.seconds)}."
    )


def wrapped(text: str, **indents: str) -> str:
    """Return text in lines that a terminal shows whole."""
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, **indents)  # type: ignore[arg-type]


def closest_words(planning: Planning) -> str:
    """Return by how much the closest layout misses, and what would do."""
    closest = planning.closest
    if closest is None or closest.lacking_bytes is None:
        return ""
    wanted = planning.wanted
    lacking = format_gib(closest.lacking_bytes)
    where = f"{closest.offer.name}, {closest.layout.words()}, {closest.dtype}"
    usable = closest.offer.gpu.usable_bytes
    needed = -(-(usable + closest.lacking_bytes) * closest.layout.replica_gpus // usable)
    return (
        f" Closest is {where}, which lacks {lacking} on its fullest GPU: some {needed} such GPUs together "
        f"would hold {wanted.architecture.name}; or {closest.nearest}."
    )


def heading(planning: Planning) -> str:
    """Return what was asked."""
    wanted = planning.wanted
    prompts = "1 prompt" if wanted.prompts == 1 else f"{wanted.prompts:,} prompts"
    within = f", within {wanted.deadline_hours:g} h" if wanted.deadline_hours else ""
    return (
        f"{wanted.architecture.name}, {prompts} of {wanted.tokens:,} tokens of which {wanted.new_tokens:,} "
        f"are the answer{within}, on {wanted.engine}"
    )


def print_plans(plans: tuple[Plan, ...]) -> None:
    """Print a line for each plan."""
    rows = [
        (
            number, f"{plan.gpus} × {plan.offer.name}", plan.layout.words(), plan.dtype,
            PROGRAMS.get(plan.runner, plan.runner), plan.batch,
            f"{format_gib(plan.estimate.fullest.process_bytes)} of {format_gib(plan.offer.gpu.usable_bytes)}",
            f"{plan.tokens_per_s:.0f} ({plan.low:.0f} to {plan.high:.0f})", hours(plan.seconds),
            f"{plan.gpu_hours:.2f}", free_words(plan),
        )
        for number, plan in enumerate(plans, 1)
    ]  # fmt: skip
    print_table(HEADERS, rows)


def free_words(plan: Plan) -> str:
    if plan.offer.absent:
        return "not here"
    return {True: "now", False: "not now", None: "not asked"}[plan.starts_now]


def hours(seconds: float) -> str:
    """Return a duration that is easy to compare: seconds, minutes, then hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def first_of_each(planning: Planning) -> list[Refusal]:
    """Return the first refusal of each type of GPU that has no plan on a single one of them in 16 bits."""
    seen: dict[str, Refusal] = {}
    whole = {plan.offer.name for plan in planning.plans if plan.gpus == 1 and "float16" in plan.dtype}
    for refusal in planning.refused:
        if refusal.offer.name not in whole:
            seen.setdefault(refusal.offer.name, refusal)
    return list(seen.values())


def refusal_words(refusal: Refusal) -> str:
    """Return a refusal as one sentence."""
    what = f"{refusal.offer.name}, {refusal.layout.words()}, {refusal.dtype}"
    return f"{what}: {refusal.reason}; instead {refusal.nearest}."


def closing(planning: Planning, plans: int, refused: int, options: str) -> str:
    """Return what was left out, and the next step with the options that were given."""
    parts = []
    hidden = (len(planning.plans) - plans, len(planning.refused) - refused)
    if any(hidden):
        counts = [
            f"{count} more {what}" for count, what in zip(hidden, ("plans", "refusals"), strict=True) if count
        ]
        parts.append(f"{' and '.join(counts)} with --all.")
    if planning.plans:
        parts.append(f"`workshop request {options} --plan 1` writes the job of the first.")
    return " ".join(parts)
