"""One way to do what is wanted, and one that does not work: the planner's answers."""

import shlex
from dataclasses import dataclass, field
from typing import Any, Literal

from workshop_utils.memory.estimate import Estimate
from workshop_utils.planner.layout import Layout, Nodes
from workshop_utils.planner.offer import Offer
from workshop_utils.planner.wanted import Wanted
from workshop_utils.units import format_gib


@dataclass(frozen=True)
class Plan:
    """A layout on an offer in a precision, with what it needs and how long it is expected to take.

    ``batch`` sequences run at a time on each replica, over all of its engines. ``tokens_per_s`` are tokens of
    answers over the whole job, prefill included; ``low`` and ``high`` enclose it. ``estimate`` is one
    replica's, ``why`` a sentence.
    """

    wanted: Wanted
    offer: Offer
    dtype: str
    layout: Layout
    nodes: Nodes
    batch: int
    estimate: Estimate
    runner: str
    ttft_s: float
    tpot_s: float
    seconds: float
    tokens_per_s: float
    low: float
    high: float
    certainty: Literal["measured", "assumed"]
    why: str = ""
    sbatch: str | None = field(default=None, compare=False)

    @property
    def gpus(self) -> int:
        return self.layout.gpus

    @property
    def gpu_hours(self) -> float:
        return self.seconds * self.gpus / 3600

    @property
    def in_time(self) -> bool:
        """Whether even the slow end of the range keeps the deadline, and the job its time limit."""
        slowest = self.seconds * self.tokens_per_s / self.low / 3600
        deadline = self.wanted.deadline_hours
        return slowest <= min(self.offer.most_hours, deadline or self.offer.most_hours)

    @property
    def starts_now(self) -> bool | None:
        """Whether there is room for every replica; None where Slurm was not asked.

        A replica needs its GPUs on one node, or whole nodes. Several are jobs of their own, on any nodes.
        """
        by_node, replica = self.offer.free_by_node, self.layout.replica_gpus
        if by_node is None:
            return None
        if replica > self.offer.per_node:
            room = sum(free >= self.offer.per_node for free in by_node) * self.offer.per_node // replica
        else:
            room = sum(free // replica for free in by_node)
        return room >= self.layout.copies

    @property
    def communication(self) -> str:
        """What is sent, over which link."""
        parts = []
        link = "NVLink" if self.offer.link == "nvlink" else "PCIe"
        if self.layout.engines > 1:
            parts.append(f"the tokens of all engines to every layer's experts and back over {link}")
        if self.layout.tensor > 1:
            parts.append(f"two sums in every layer over {link}")
        if self.layout.pipeline > 1:
            over = link if self.layout.replica_gpus <= self.offer.per_node else "the network between nodes"
            parts.append(f"a token's activations from stage to stage over {over}")
        return "; ".join(parts) or "nothing"

    def estimate_command(self) -> str:
        """Return the command that shows this plan's memory term by term, of a slice on the whole GPU."""
        workload = self.estimate.workload
        words = [
            "workshop estimate", self.estimate.model, f"--tokens {workload.tokens}",
            f"--new-tokens {workload.new_tokens}", f"--batch {workload.batch}", f"--dtype {workload.dtype}",
            f"--gpu {shlex.quote(self.offer.slice_of or self.offer.gpu.name)}",
        ]  # fmt: skip
        if workload.engine != "transformers":
            words.append(f"--engine {workload.engine}")
        if workload.cache == "static":
            words.append("--cache static")
        layout = self.layout
        for name, size in (("tp", layout.tensor), ("pp", layout.pipeline), ("dp", layout.engines)):
            if size > 1:
                words.append(f"--{name} {size}")
        if layout.expert > 1:
            words.append("--ep")
        return " ".join(words)

    def as_json(self) -> dict[str, Any]:
        return {
            "gpu": self.offer.name,
            "nodes": self.nodes.nodes,
            "gpus_per_node": self.nodes.gpus_per_node,
            "layout": self.layout.as_json(),
            "dtype": self.dtype,
            "engine": self.wanted.engine,
            "runner": self.runner,
            "batch": self.batch,
            "per_gpu_bytes": [rank.process_bytes for rank in self.estimate.per_gpu] * self.layout.copies,
            "usable_bytes": self.offer.gpu.usable_bytes,
            "expected_tokens_per_s": round(self.tokens_per_s, 2),
            "range": [round(self.low, 2), round(self.high, 2)],
            "certainty": self.certainty,
            "ttft_s": round(self.ttft_s, 4),
            "tpot_ms": round(self.tpot_s * 1e3, 3),
            "hours": round(self.seconds / 3600, 4),
            "gpu_hours": round(self.gpu_hours, 4),
            "in_time": self.in_time,
            "starts_now": self.starts_now,
            "communication": self.communication,
            "why": self.why,
            "estimate": self.estimate_command(),
            "sbatch": self.sbatch,
        }


@dataclass(frozen=True)
class Refusal:
    """A layout that does not work on an offer, why, and the nearest that does.

    ``lacking_bytes``: what its fullest GPU has too little, None where memory is not the reason.
    """

    offer: Offer
    dtype: str
    layout: Layout
    reason: str
    nearest: str
    lacking_bytes: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "gpu": self.offer.name,
            "layout": self.layout.as_json(),
            "dtype": self.dtype,
            "reason": self.reason,
            "nearest": self.nearest,
        }


@dataclass(frozen=True)
class Planning:
    """All answers: plans from the best on, and what was refused."""

    wanted: Wanted
    plans: tuple[Plan, ...]
    refused: tuple[Refusal, ...]
    considered: int

    @property
    def closest(self) -> Refusal | None:
        """The refusal that lacks least memory, for a model that fits nowhere."""
        lacking = [each for each in self.refused if each.lacking_bytes is not None]
        return min(lacking, key=lambda each: each.lacking_bytes or 0, default=None)

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.wanted.architecture.name,
            "tokens": self.wanted.tokens,
            "new_tokens": self.wanted.new_tokens,
            "prompts": self.wanted.prompts,
            "considered": self.considered,
            "plans": [plan.as_json() for plan in self.plans],
            "refused": [refusal.as_json() for refusal in self.refused],
        }


def too_large(needed_bytes: int, offer: Offer) -> str:
    """Return the reason of a layout that does not fit."""
    more = needed_bytes - offer.gpu.usable_bytes
    return (
        f"needs {format_gib(needed_bytes)} on its fullest GPU, {format_gib(more)} more than the "
        f"{format_gib(offer.gpu.usable_bytes)} of {offer.name}"
    )
