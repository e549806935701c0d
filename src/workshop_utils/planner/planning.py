"""Every layout on every offer in every precision: which work, which is best, and why the others do not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.memory.largest import fits
from workshop_utils.memory.precisions import PRECISIONS
from workshop_utils.planner.experts import expert_layouts
from workshop_utils.planner.layout import Layout, Nodes, place, replica_layouts, sizes_up_to
from workshop_utils.planner.offer import Offer
from workshop_utils.planner.plan import Plan, Planning, Refusal, too_large
from workshop_utils.planner.precision import no_code, obstacle
from workshop_utils.planner.ranking import SIXTEEN_BITS, rank, worth_fewer_bits, worthwhile
from workshop_utils.planner.reasons import ROOMY, counted, explained
from workshop_utils.planner.speed import Replica, Speed, Text, runner_of, speeds
from workshop_utils.planner.wanted import FEWER_BITS, Wanted
from workshop_utils.units import format_gib

# Sequences at a time on one replica: beyond, published engines gain little and a reader waits long.
MOST_BATCH = 64


def plan(wanted: Wanted, offers: Sequence[Offer], torch_build: str | None = None) -> Planning:
    """Return plans from the best on, and refusals. ``torch_build``: PyTorch's build, such as ``cu126``."""
    plans: list[Plan] = []
    refused: list[Refusal] = []
    considered = 0
    for offer in offers:
        if found := no_code(offer.gpu, torch_build):
            refused.append(Refusal(offer, first_dtype(wanted, offer), Layout(), *found))
            continue
        here: list[Plan] = []
        for dtype in dtypes_for(wanted, offer, refused):
            search = Search(wanted, offer, dtype)
            here += [each for each in search.plans if worth_fewer_bits(each, here)]
            refused += search.refused
            considered += search.considered
        plans += here
    ranked = sorted(plans, key=rank)
    return Planning(wanted, tuple(explained(ranked, refused)), tuple(distinct(refused)), considered)


def distinct(refused: Sequence[Refusal]) -> Iterator[Refusal]:
    """Yield the refusals, of those with one reason on one offer only the smallest layout."""
    seen = set()
    for each in refused:
        key = (each.offer.name, each.reason)
        if key not in seen:
            seen.add(key)
            yield each


def first_dtype(wanted: Wanted, offer: Offer) -> str:
    """Return the precision that is tried first: what was asked for, else 16 bits as the GPU has them."""
    if wanted.dtypes:
        return wanted.dtypes[0]
    return "bfloat16" if offer.gpu.native_bf16 else "float16"


def dtypes_for(wanted: Wanted, offer: Offer, refused: list[Refusal]) -> Iterator[str]:
    """Yield the precisions that an offer computes in; those that it does not become refusals."""
    for dtype in wanted.dtypes or default_dtypes(wanted, offer):
        found = obstacle(offer.gpu, dtype, wanted.engine)
        if found is None:
            yield dtype
        else:
            reason, nearest = found
            refused.append(Refusal(offer, dtype, Layout(), reason, nearest))


def default_dtypes(wanted: Wanted, offer: Offer) -> tuple[str, ...]:
    """Return the precisions to try where none is named.

    bfloat16 is what most models are published in: a GPU without it is told so, and then takes float16. vLLM
    also loads what is published in fewer bits as it is.
    """
    usual = ("bfloat16",) if offer.gpu.native_bf16 else ("bfloat16", "float16")
    stored = wanted.architecture.stored_as
    published = (stored,) if stored in PRECISIONS and wanted.engine == "vllm" else ()
    return tuple(dict.fromkeys((*published, *usual, *FEWER_BITS[wanted.engine])))


class Search:
    """All layouts on one offer in one precision."""

    def __init__(self, wanted: Wanted, offer: Offer, dtype: str) -> None:
        self.wanted, self.offer, self.dtype = wanted, offer, dtype
        self.runner = runner_of(wanted.architecture, wanted.engine, dtype)
        self.refused: list[Refusal] = []
        self.considered = 0
        self._estimates: dict[tuple[Layout, int], Estimate] = {}
        replicas = replica_layouts(wanted.architecture, offer)
        if wanted.engine == "vllm":
            replicas += expert_layouts(wanted.architecture, offer, dtype)
        found = [plan for replica in replicas for plan in self.plans_of(replica)]
        self.plans = [settled for plan in worthwhile(found) if (settled := self.settle(plan))]
        nearest = self.nearest
        self.refused = [replace(each, nearest=each.nearest or nearest) for each in self.refused]

    def plans_of(self, replica: Layout) -> Iterator[Plan]:
        """Yield a plan for every number of replicas, where one of them may fit."""
        self.considered += 1
        placed = place(replica, self.offer)
        if isinstance(placed, str):
            self.refuse(replica, placed)
            return
        if (work := min(self.wanted.prompts, self.wanted.batch or MOST_BATCH)) < replica.engines:
            running = "one prompt runs" if work == 1 else f"{work} prompts run"
            self.refuse(replica, f"it has {replica.engines} engines, and only {running} at a time")
            return
        if replica.tensor > 1 and self.wanted.engine == "transformers" and self.dtype not in SIXTEEN_BITS:
            # bitsandbytes packs a matrix into blocks that no tensor parallel plan of transformers cuts.
            self.refuse(replica, f"transformers does not split {self.dtype} matrices over tensor ranks")
            return
        try:
            one = self.estimate(replica, 1)
        except WorkshopError as error:
            self.refuse(replica, *parted(str(error)))
            return
        if not self.may_fit(one):
            lacking = one.fullest.process_bytes - self.offer.gpu.usable_bytes
            if "max_concurrency" in one.figures:
                lacking = max(0, -one.figures["kv_pool_bytes"])
            self.refuse(replica, self.full(one), lacking_bytes=lacking)
            return
        most = min(self.offer.most_gpus // replica.gpus, self.wanted.prompts)
        for data in sizes_up_to(most):
            layout = replace(replica, data=data * replica.engines)
            nodes = place(layout, self.offer)
            if isinstance(nodes, Nodes):
                self.considered += data > 1
                yield self.planned(layout, nodes, self.batch_of(layout))

    def may_fit(self, found: Estimate) -> bool:
        """Return whether what a run cannot do without fits; how the allocator cuts it is asked later."""
        if "max_concurrency" in found.figures:
            # What stands beside vLLM's share, such as the CUDA context, must have room as well.
            inside = found.fullest.process_bytes <= self.offer.gpu.usable_bytes
            return inside and fits(found, self.offer.gpu)
        return found.fullest.needed_bytes <= self.offer.gpu.usable_bytes

    def settle(self, plan: Plan) -> Plan | None:
        """Return the plan with a batch that fits as the allocator cuts memory, None where none does."""
        for size in reversed([size for size in sizes_up_to(plan.batch) if size < plan.batch] + [plan.batch]):
            found = self.estimate(plan.layout, size)
            roomy = size == 1 or found.fullest.process_bytes <= ROOMY * self.offer.gpu.usable_bytes
            if "max_concurrency" in found.figures or (roomy and fits(found, self.offer.gpu)):
                return plan if size == plan.batch else self.planned(plan.layout, plan.nodes, size)
        needed = self.estimate(plan.layout, 1).fullest.process_bytes
        self.refuse(plan.layout, too_large(needed, self.offer))
        return None

    def estimate(self, layout: Layout, batch: int) -> Estimate:
        """Return the memory of one replica with so many sequences."""
        key = (layout.replica(), batch)
        if key not in self._estimates:
            wanted = self.wanted
            own = self.runner.name == "this workshop"
            self._estimates[key] = estimate(
                wanted.architecture, tokens=wanted.tokens, new_tokens=wanted.new_tokens, batch=batch,
                dtype=self.dtype, kv_dtype=wanted.kv_dtype, engine=wanted.engine, gpu=self.offer.gpu,
                cache="static" if own else None, tensor_parallel=layout.tensor,
                pipeline_parallel=layout.pipeline, data_parallel=layout.engines,
                expert_parallel=layout.expert > 1,
            )  # fmt: skip
        return self._estimates[key]

    def full(self, found: Estimate) -> str:
        """Return why a layout does not fit."""
        if "max_concurrency" in found.figures:
            pool = found.figures["kv_pool_bytes"]
            if pool > 0 and found.fullest.process_bytes > self.offer.gpu.usable_bytes:
                return too_large(found.fullest.process_bytes, self.offer)
            if pool <= 0:
                return (
                    f"weights and start-up need {format_gib(-pool)} more than vLLM takes of {self.offer.name}"
                )
            return (
                f"vLLM does not start: its cache gets {format_gib(pool)}, too little for one request of "
                f"{self.wanted.tokens:,} tokens"
            )
        return too_large(found.fullest.process_bytes, self.offer)

    def planned(self, layout: Layout, nodes: Nodes, batch: int) -> Plan:
        """Return the plan of a layout with so many sequences at a time on each replica."""
        wanted, offer = self.wanted, self.offer
        found = self.estimate(layout, batch)
        text = Text(batch, wanted.prompt, wanted.new_tokens)
        replica = Replica(
            wanted.architecture, self.runner, offer, layout, self.weight_bytes, found.workload.kv_dtype
        )
        speed = replica.speed(text)
        seconds = self.job_seconds(layout, batch, speed)
        tokens_per_s = wanted.prompts * wanted.new_tokens / seconds
        measured = offer.gpu.name in speeds()["measured_on"] and self.dtype in SIXTEEN_BITS
        # No recorded run spread experts.
        measured = measured and layout.expert == 1
        spread = self.runner.range if measured else speeds()["assumed_range"]
        return Plan(
            wanted, offer, self.dtype, layout, nodes, batch, found, self.runner.name, speed.prefill_s,
            speed.step_s, seconds, tokens_per_s, tokens_per_s * (1 - spread), tokens_per_s * (1 + spread),
            "measured" if measured else "assumed",
        )  # fmt: skip

    @cached_property
    def weight_bytes(self) -> int:
        """The whole model's weights as they are stored, on however many GPUs."""
        return self.estimate(Layout(), 1).weights_bytes

    def batch_of(self, layout: Layout) -> int:
        """Return how many sequences a replica takes at a time, before the allocator is asked."""
        wanted = self.wanted
        share = -(-wanted.prompts // layout.copies)
        asked = wanted.batch and -(-wanted.batch // layout.copies)
        most = min(share, asked or MOST_BATCH)
        one = self.estimate(layout, 1)
        if "max_concurrency" in one.figures:
            return min(most, layout.engines * int(one.figures["max_concurrency"]))
        best = 1
        for size in [*(size for size in sizes_up_to(most) if 1 < size < most), most]:
            if not self.may_fit(self.estimate(layout, size)):
                break
            best = size
        return best

    def job_seconds(self, layout: Layout, batch: int, speed: Speed) -> float:
        """Return how long all prompts take; the last round of a replica may be smaller, and lasts as long."""
        share = -(-self.wanted.prompts // layout.copies)
        rounds = -(-share // batch)
        return rounds * speed.batch_s(Text(batch, self.wanted.prompt, self.wanted.new_tokens))

    def refuse(
        self, layout: Layout, reason: str, nearest: str = "", lacking_bytes: int | None = None
    ) -> None:
        self.refused.append(Refusal(self.offer, self.dtype, layout, reason, nearest, lacking_bytes))

    @cached_property
    def nearest(self) -> str:
        """What works on this offer, for whatever does not."""
        if self.plans:
            best = min(self.plans, key=lambda plan: plan.gpus)
            return f"{counted(best)} in {best.dtype}"
        return ""


def parted(sentence: str) -> tuple[str, str]:
    """Return reason and remedy of an error's sentence: what stands before and after its semicolon."""
    reason, _, remedy = sentence.rstrip(".").partition("; ")
    return reason, remedy
