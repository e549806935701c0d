"""A script at a site: what both say together, and what a rule finds."""

import re
from dataclasses import dataclass

from workshop_utils.cluster.script_asks import Asks
from workshop_utils.cluster.script_options import ScriptOptions
from workshop_utils.cluster.site import GpuNodes, Partition, Site


@dataclass(frozen=True)
class Problem:
    """``kind`` for programs, one sentence for readers, and the line it is about, None for what is missing."""

    kind: str
    sentence: str
    line: int | None = None

    def as_json(self) -> dict[str, object]:
        return {"kind": self.kind, "line": self.line, "sentence": self.sentence}


@dataclass(frozen=True)
class Case:
    """A script at a site."""

    script: str
    options: ScriptOptions
    asks: Asks
    site: Site

    @property
    def partition(self) -> Partition | None:
        name = self.options.value("partition")
        return self.site.partition(name) if name else None

    @property
    def type(self) -> str | None:
        """Slurm's name of the GPUs that are asked for, None for any."""
        return next((ask.type for ask in self.asks.gpus if ask.type), None)

    @property
    def groups(self) -> list[GpuNodes]:
        """The site's nodes that the script could be given: of its partition, type and constraint."""
        constraint = self.options.value("constraint")
        return [
            group
            for group in self.of_type
            if constraint is None or meets(constraint, group)
            if self.partition is None or group.partition == self.partition
        ]

    @property
    def of_type(self) -> list[GpuNodes]:
        return [group for group in self.site.gpus if self.type in {None, group.type}]


def meets(constraint: str, group: GpuNodes) -> bool:
    """Return whether nodes have a constraint: names joined by & and |."""
    having = {group.constraint, group.fast_constraint, group.type} - {None}
    either = re.sub(r"[\[\]()]|\*\d+", "", constraint).split("|")
    return any(all(name in having for name in both.split("&")) for both in either)
