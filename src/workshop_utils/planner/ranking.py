"""Which plans are worth a line, and which of them comes first."""

from collections.abc import Sequence

from workshop_utils.planner.plan import Plan
from workshop_utils.units import GIB

# A plan with more GPUs must be so much faster than one with fewer to be worth a line.
WORTHWHILE = 1.05
SIXTEEN_BITS = ("bfloat16", "float16", "float32")


def rank(plan: Plan) -> tuple[object, ...]:
    """Return what plans are sorted by: in time, few GPUs, free, not scarce, 16 bits, small; else by time.

    Of two on the same GPUs, the one whose experts are cut comes first: runs like it were measured.
    """
    return (
        not plan.in_time,
        0 if plan.in_time else plan.seconds,
        plan.gpus,
        plan.starts_now is False,
        plan.offer.scarce,
        plan.dtype not in (*SIXTEEN_BITS, plan.wanted.architecture.stored_as),
        round(plan.offer.gpu.usable_bytes / GIB),
        whole_experts(plan),
        plan.seconds,
    )


def worth_fewer_bits(plan: Plan, others: Sequence[Plan]) -> bool:
    """Return whether a quantised plan saves a GPU or time: else more bits are the better answer."""
    published = plan.wanted.architecture.stored_as
    return plan.dtype in (*SIXTEEN_BITS, published) or not any(
        other.gpus <= plan.gpus
        and other.tokens_per_s * WORTHWHILE >= plan.tokens_per_s
        and (not whole_experts(other) or whole_experts(plan))
        for other in others
    )


def whole_experts(plan: Plan) -> bool:
    """Return whether a plan spreads whole experts; as nobody measured that here, it pushes no other out."""
    return plan.layout.expert > 1


def worthwhile(plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans that no other one on the same offer beats with as few GPUs and as much speed."""
    kept: list[Plan] = []
    for each in sorted(plans, key=lambda plan: (plan.gpus, whole_experts(plan), -plan.tokens_per_s)):
        rivals = (other for other in kept if whole_experts(each) or not whole_experts(other))
        best = max((other.tokens_per_s for other in rivals), default=0.0)
        if each.tokens_per_s > best * WORTHWHILE:
            kept.append(each)
    return kept
