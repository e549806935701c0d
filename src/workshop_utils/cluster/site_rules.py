"""Whether a site would accept what a script asks for: one sentence for each thing that it would not.

Slurm has one message for many of these causes ("Requested node configuration is not available"), so the site
file is asked first. What the file does not know, such as the cores of some nodes, is left to Slurm.
"""

from collections.abc import Callable, Iterator, Sequence

from workshop_utils.cluster.gpu_rules import GPU_RULES
from workshop_utils.cluster.line_rules import LINE_RULES
from workshop_utils.cluster.sbatch_script import YOUR_ALLOCATION
from workshop_utils.cluster.script_asks import Asks, MalformedError
from workshop_utils.cluster.script_options import read_options
from workshop_utils.cluster.shell_words import slurm_time
from workshop_utils.cluster.site import Site
from workshop_utils.cluster.site_case import Case, Problem
from workshop_utils.units import GIB

LISTED = "`sacctmgr show associations user=$USER format=account` lists yours"


def check_script(script: str, site: Site) -> list[Problem]:
    """Return what a site would not accept of a script, in the order of its lines."""
    options = read_options(script)
    case = Case(script, options, Asks(options), site)
    found: list[Problem] = []
    for rule in RULES:
        try:
            found += rule(case)
        except MalformedError as malformed:
            found.append(Problem("malformed", str(malformed), options.line(malformed.option)))
    # A value that cannot be read stops every rule that needs it: it is said once.
    once = {problem.sentence: problem for problem in reversed(found)}
    return sorted(once.values(), key=lambda problem: problem.line or 0)


def partition(case: Case) -> Iterator[Problem]:
    """Refuse a partition that is not there, or none where the site has no default one."""
    name = case.options.value("partition")
    choices = ", ".join(each.name for each in case.site.partitions)
    if name is None:
        if not case.site.default_partition:
            has = case.of_type[0].partition.name if case.of_type else case.site.partitions[0].name
            yield Problem(
                "no_partition",
                f"the script names no partition and {case.site.name} has no default one; add "
                f"--partition={has} (there are {choices}).",
            )
    elif any(case.site.partition(each) is None for each in name.split(",")):
        yield Problem(
            "partition",
            f"partition {name} is none in {case.site.name}'s site file; change it to one of {choices}.",
            case.options.line("partition"),
        )


def cores(case: Case) -> Iterator[Problem]:
    """Refuse more cores than a node has, where the site file knows."""
    known = [group.cores for group in case.groups]
    asked = case.asks.cores_per_node
    most = max((each for each in known if each), default=None)
    if most is not None and None not in known and asked > most:
        yield Problem(
            "cores",
            f"{asked} cores on a node are more than the {most} that it has; lower --cpus-per-task, for "
            f"example to {case.site.cores_per_gpu} for each GPU.",
            case.options.line("cpus-per-task", "cpus-per-gpu", "ntasks-per-node", "ntasks"),
        )


def memory(case: Case) -> Iterator[Problem]:
    """Refuse more CPU memory than a node has, where the site file knows.

    Of one type of GPU it is enough to know some: nodes of the type with other GPUs have hardly more.
    """
    known = [group.memory_bytes for group in case.groups]
    asked = case.asks.memory_bytes
    most = max((each for each in known if each), default=None)
    if asked and most is not None and (case.type or None not in known) and asked > most:
        yield Problem(
            "memory",
            f"{asked / GIB:.0f} GiB of CPU memory are more than the {most / GIB:.0f} GiB of a node; ask for "
            f"--mem={most // GIB}G or less (a GPU's own memory is not asked for: it comes with it).",
            case.options.line("mem", "mem-per-cpu", "mem-per-gpu"),
        )


def nodes(case: Case) -> Iterator[Problem]:
    """Refuse more nodes than a job may have, or than there are."""
    asked = case.asks.nodes
    limits = [
        limit for limit in (case.site.most_nodes, case.partition and case.partition.most_nodes) if limit
    ]
    there = sum(group.nodes for group in case.groups)
    most = min([*limits, there] if there else limits, default=asked)
    if asked > most:
        of = " of this kind" if most == there else ""
        yield Problem(
            "nodes",
            f"{asked} nodes are more than the {most}{of} that a job may have; ask for --nodes={most} or "
            "fewer, with more GPUs on each.",
            case.options.line("nodes"),
        )


def time(case: Case) -> Iterator[Problem]:
    """Refuse a time over the partition's limit."""
    asked = case.asks.hours
    named = case.options.value("partition") is not None
    # Without a name it is a default one, of those with the type.
    parts = [case.partition] if named else list(dict.fromkeys(group.partition for group in case.groups))
    known = [part for part in parts if part]
    most = max((part.most_hours for part in known), default=None)
    if asked is not None and most is not None and asked > most:
        names = ", ".join(part.name for part in known)
        longer = next((part.name for part in case.site.partitions if part.most_hours >= asked), None)
        other = f", or take partition {longer}" if longer else ""
        yield Problem(
            "time",
            f"{asked:g} hours are more than the {most:g} of partition {names}; ask for "
            f"--time={slurm_time(most)} or less{other}.",
            case.options.line("time"),
        )


def account(case: Case) -> Iterator[Problem]:
    """Refuse a job that nobody pays for."""
    if case.options.value("account") == YOUR_ALLOCATION:
        yield Problem(
            "placeholder",
            f"{YOUR_ALLOCATION} stands for your own allocation; put its name there ({LISTED}).",
            case.options.line("account"),
        )
    elif case.site.account_required and not case.options.value("account"):
        yield Problem(
            "account",
            f"the script names no account and {case.site.name} wants one; add --account={YOUR_ALLOCATION} "
            f"({LISTED}).",
        )


RULES: Sequence[Callable[[Case], Iterator[Problem]]] = (
    partition, *GPU_RULES, cores, memory, nodes, time, account, *LINE_RULES,
)  # fmt: skip
