"""The values of a script's options as numbers: GPUs, nodes, cores, memory, time."""

import re
from dataclasses import dataclass
from functools import cached_property

from workshop_utils.cluster.partitions import UNLIMITED, read_hours
from workshop_utils.cluster.script_options import ScriptOptions

MEMORY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# No number of Slurm's is longer.
WHOLE = "[0-9]{1,10}"
# Where options name GPUs, in the order in which their sentences should name a line.
GPU_OPTIONS = ("gres", "gpus-per-node", "gpus", "gpus-per-task")


@dataclass(frozen=True)
class GpuAsk:
    """GPUs of one option: a type or None for any, and how many."""

    option: str
    text: str
    type: str | None
    count: int


class MalformedError(ValueError):
    """A value of ``option`` that Slurm does not read, with what it should look like."""

    def __init__(self, option: str, sentence: str) -> None:
        super().__init__(sentence)
        self.option = option


@dataclass(frozen=True)
class Asks:
    """What a script asks for. Properties raise MalformedError where a value cannot be read."""

    options: ScriptOptions

    @cached_property
    def gpus(self) -> tuple[GpuAsk, ...]:
        """Return the GPUs that options name; none where no option does."""
        found = []
        for option in GPU_OPTIONS:
            text = self.options.value(option)
            if text is None:
                continue
            for entry in text.split(","):
                words = entry.strip().removeprefix("gres/").split(":")
                if option == "gres" and words.pop(0) != "gpu":
                    continue  # another kind of resource, such as nvme:1
                found.append(read_gpus(option, entry.strip(), words))
        return tuple(found)

    @cached_property
    def nodes(self) -> int:
        """Return the nodes at least: of ``2-4``, 2."""
        text = self.options.value("nodes")
        if text is None:
            return 1
        match = re.fullmatch(rf"({WHOLE})(?:-{WHOLE})?(?:,{WHOLE})*", text)
        if not match or int(match[1]) < 1:
            raise MalformedError("nodes", f"{text!r} after --nodes is no number of nodes; write --nodes=2.")
        return int(match[1])

    def number(self, name: str, default: int | None = None) -> int | None:
        """Return a whole number."""
        text = self.options.value(name)
        if text is None:
            return default
        if not re.fullmatch(WHOLE, text) or int(text) < 1:
            raise MalformedError(name, f"{text!r} after --{name} is no whole number; write --{name}=4.")
        return int(text)

    @cached_property
    def tasks_per_node(self) -> int:
        each = self.number("ntasks-per-node")
        total = self.number("ntasks")
        return each or (-(-total // self.nodes) if total else 1)

    @cached_property
    def gpus_per_node(self) -> int:
        """Return the GPUs of a node, the larger where several options name some; 0 without."""
        factor = {"gpus-per-task": self.tasks_per_node}
        per_node = {"gres": 0, "gpus-per-node": 0, "gpus": 0, "gpus-per-task": 0}
        for ask in self.gpus:
            per_node[ask.option] += ask.count * factor.get(ask.option, 1)
        per_node["gpus"] = -(-per_node["gpus"] // self.nodes)
        return max(per_node.values())

    @cached_property
    def all_gpus(self) -> int:
        """Return the GPUs of the job."""
        total = sum(ask.count for ask in self.gpus if ask.option == "gpus")
        return total or self.gpus_per_node * self.nodes

    @cached_property
    def cores_per_node(self) -> int:
        of_tasks = self.tasks_per_node * (self.number("cpus-per-task") or 1)
        of_gpus = self.gpus_per_node * (self.number("cpus-per-gpu") or 0)
        return max(of_tasks, of_gpus)

    @cached_property
    def memory_bytes(self) -> int | None:
        """Return a node's memory, None where the script leaves it to the centre. 0 is all of it."""
        each = {"mem": 1, "mem-per-cpu": self.cores_per_node, "mem-per-gpu": self.gpus_per_node}
        for name, factor in each.items():
            text = self.options.value(name)
            if text is None:
                continue
            match = re.fullmatch(rf"({WHOLE})([KMGT]?)B?", text, re.IGNORECASE)
            if not match:
                raise MalformedError(
                    name, f"{text!r} after --{name} is no amount of memory; write --{name}=64G."
                )
            return int(match[1]) * MEMORY_UNITS[match[2].upper() or "M"] * factor
        return None

    @cached_property
    def hours(self) -> float | None:
        """Return the time, None where the script leaves it to the centre."""
        text = self.options.value("time")
        return None if text is None else read_hours(checked_time(text))


def read_gpus(option: str, text: str, words: list[str]) -> GpuAsk:
    """Return what ``a100:2``, ``2`` or ``a100`` asks for, parted at its colons."""
    shape = {"gres": "--gres=gpu:TYPE:NUMBER", "gpus": "--gpus=TYPE:NUMBER"}
    wanted = shape.get(option, f"--{option}=TYPE:NUMBER")
    words = [re.sub(r"\(.*\)$", "", word) for word in words]
    words = words or ["1"]
    *kinds, last = words
    counted = re.fullmatch(WHOLE, last) is not None
    if not counted:
        kinds, last = [*kinds, last], "1"
    if len(kinds) > 1 or "" in kinds or int(last) < 1 or (not counted and len(words) > 1):
        order = "the type before the number" if words[0].isdecimal() else "with a whole number"
        raise MalformedError(
            option, f"{text!r} after --{option} names no GPUs that Slurm could read; write {wanted}, {order}."
        )
    return GpuAsk(option, text, kinds[0] if kinds else None, int(last))


def checked_time(text: str) -> str:
    """Return one of Slurm's ways to write a time: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS."""
    if text.upper() not in UNLIMITED and not re.fullmatch(rf"({WHOLE}-)?{WHOLE}(:{WHOLE}){{0,2}}", text):
        raise MalformedError(
            "time",
            f"{text!r} after --time is no time; write hours, minutes and seconds as in --time=02:30:00, or "
            "days before them as in --time=1-00:00:00.",
        )
    return text
