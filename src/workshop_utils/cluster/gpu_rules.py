"""Rules about GPUs: their type, their number, and the nodes that have them."""

import re
from collections.abc import Iterator

from workshop_utils.cluster.script_asks import GPU_OPTIONS, GpuAsk
from workshop_utils.cluster.site_case import Case, Problem, meets


def gpu_type(case: Case) -> Iterator[Problem]:
    """Refuse a type that the site does not have, or writes otherwise."""
    for ask in case.asks.gpus:
        if ask.type is None or ask.type in case.site.types:
            continue
        line = case.options.line(ask.option)
        right = next((name for name in case.site.types if name.casefold() == ask.type.casefold()), None)
        if right:
            yield Problem(
                "gpu_type_case",
                f"GPU type {ask.type} is written {right} here, and Slurm tells capitals from small letters; "
                f"change it to --{ask.option}={changed(ask, right)}.",
                line,
            )
        else:
            choices = ", ".join(case.site.types)
            yield Problem(
                "gpu_type",
                f"GPU type {ask.type} is none of {case.site.name}'s; change it to one of {choices}.",
                line,
            )


def changed(ask: GpuAsk, right: str) -> str:
    return ask.text.replace(f"{ask.type}", right, 1)


def no_gpus(case: Case) -> Iterator[Problem]:
    """Refuse a script for a partition with GPUs that asks for none: it gets none."""
    if not case.asks.gpus and any(group.partition == case.partition for group in case.site.gpus):
        choices = case.groups or case.site.gpus
        # Not what everybody waits for, where there is anything else.
        example = next((group for group in choices if not group.scarce), choices[0]).type
        yield Problem("no_gpus", f"the script asks for no GPU and gets none; add --gres=gpu:{example}:1.")


def type_in_partition(case: Case) -> Iterator[Problem]:
    """Refuse a type that is in another partition."""
    there = [group.partition.name for group in case.of_type]
    if case.type and case.partition and there and case.partition.name not in there:
        yield Problem(
            "type_in_partition",
            f"partition {case.partition.name} has no GPU of type {case.type}; change it to "
            f"--partition={there[0]}.",
            case.options.line("partition"),
        )


def constraint(case: Case) -> Iterator[Problem]:
    """Refuse a constraint that the site does not know, or that no node with the type has."""
    text = case.options.value("constraint")
    if text is None:
        return
    line = case.options.line("constraint")
    known = (*case.site.features, *case.site.types)
    for name in re.findall(r"[A-Za-z_][A-Za-z0-9_.:-]*", text):
        if name not in known:
            choices = f"it has {', '.join(case.site.features)}" if case.site.features else "it has none"
            yield Problem(
                "constraint",
                f"constraint {name} is no feature in {case.site.name}'s site file: {choices}; change it or "
                "leave it out (`sinfo -o '%f %N'` lists the features that nodes really have).",
                line,
            )
            return
    if case.of_type and not any(meets(text, group) for group in case.of_type):
        theirs = dict.fromkeys(
            name for group in case.of_type for name in (group.constraint, group.fast_constraint) if name
        )
        other = f"change it to {' or '.join(theirs)}" if theirs else "leave the constraint out"
        yield Problem(
            "type_and_constraint",
            f"no node has both GPU type {case.type} and constraint {text}; {other}, or change the type.",
            line,
        )


def gpus_per_node(case: Case) -> Iterator[Problem]:
    """Refuse more GPUs on a node than any has."""
    groups, asked = case.groups, case.asks.gpus_per_node
    most = max((group.per_node for group in groups), default=asked)
    if asked > most:
        kind = f" with {case.type}" if case.type else ""
        nodes = max((group.nodes for group in groups), default=1)
        more = f", or spread them with --nodes={-(-asked // most)}" if nodes * most >= asked else ""
        yield Problem(
            "gpus_per_node",
            f"{asked} GPUs on a node are more than the {most} that a node{kind} has; ask for {most} or "
            f"fewer{more}.",
            case.options.line(*GPU_OPTIONS),
        )


def gpu_limit(case: Case) -> Iterator[Problem]:
    """Refuse more GPUs in all than a job may have."""
    asked = case.asks.all_gpus
    limits = [limit for limit in (case.site.most_gpus, case.partition and case.partition.most_gpus) if limit]
    most = min(limits, default=asked)
    if asked > most:
        yield Problem(
            "gpu_limit",
            f"{asked} GPUs in all are more than the {most} that a job may have here; ask for fewer nodes, or "
            "fewer GPUs on each.",
            case.options.line("nodes", *GPU_OPTIONS),
        )


def whole_nodes(case: Case) -> Iterator[Problem]:
    """Refuse parts of nodes in a job of several, where the site gives whole ones only."""
    groups, asked = case.groups, case.asks.gpus_per_node
    if case.asks.nodes > 1 and groups and all(group.whole_nodes for group in groups):
        each = groups[0].per_node
        if 0 < asked < each:
            yield Problem(
                "whole_nodes",
                f"{case.asks.nodes} nodes with {asked} GPUs each: a job of several {groups[0].type} nodes "
                f"takes whole ones; change it to --gres=gpu:{groups[0].type}:{each}, on as few nodes as that "
                "takes.",
                case.options.line(*GPU_OPTIONS),
            )


def asked_twice(case: Case) -> Iterator[Problem]:
    """Refuse two options that say differently what GPUs a node gives."""
    gres, per_node = (
        {(ask.type, ask.count) for ask in case.asks.gpus if ask.option == option}
        for option in ("gres", "gpus-per-node")
    )
    if gres and per_node and gres != per_node:
        yield Problem(
            "gpus_twice",
            "--gres and --gpus-per-node ask for different GPUs of a node; keep the one that you mean.",
            case.options.line("gpus-per-node"),
        )


GPU_RULES = (
    gpu_type,
    no_gpus,
    type_in_partition,
    constraint,
    gpus_per_node,
    gpu_limit,
    whole_nodes,
    asked_twice,
)
