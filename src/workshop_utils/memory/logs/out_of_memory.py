"""Why memory ran out, as far as the figures of torch's own message and our estimate tell."""

import math
from collections.abc import Iterator

from workshop_utils.memory.logs.facts import CudaOom, LogFacts
from workshop_utils.memory.logs.question import Answer, Question
from workshop_utils.memory.logs.text import format_size
from workshop_utils.models.architecture import Attention
from workshop_utils.units import MIB


def why_out_of_memory(facts: LogFacts, question: Question | None, answer: Answer | None) -> str:
    """Return what failed and the first of the usual causes that applies, in one sentence."""
    oom = facts.oom
    if oom is None:
        return ""
    told = f" ({oom.allocation.name})" if oom.allocation.kind != "unknown" else ""
    free = f", and {format_size(oom.free_bytes)} were free" if oom.free_bytes is not None else ""
    hints = [implied_tokens(oom, question), next(reasons(facts, oom, question, answer), "")]
    asked = f"{format_size(oom.tried_bytes)} were asked for{told}{free}"
    return "; ".join([asked, *(hint for hint in hints if hint)]) + "."


def reasons(facts: LogFacts, oom: CudaOom, question: Question | None, answer: Answer | None) -> Iterator[str]:
    """Yield causes, the most certain first: training, others, a limit, fragments, the size of the job."""
    capacity = facts.gpu_bytes
    if oom.allocation.kind == "training":
        yield "this is training, whose gradients and optimizer state an estimate of inference leaves out"
    if oom.other_bytes and oom.other_bytes + (oom.free_bytes or 0) >= oom.tried_bytes:
        alone = oom.other_processes == 1
        others = "another process has" if alone else f"{oom.other_processes} other processes have"
        yield f"{others} {format_size(oom.other_bytes)} of the GPU; without them this would have found room"
    if oom.allowed_bytes and capacity and oom.allowed_bytes < capacity - MIB:
        yield f"the process is limited to {format_size(oom.allowed_bytes)} (set_per_process_memory_fraction)"
    if oom.unallocated_bytes and oom.unallocated_bytes >= oom.tried_bytes:
        yield (
            f"the allocator holds {format_size(oom.unallocated_bytes)} that no tensor uses, in pieces too "
            "small: set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
        )
    if facts.source == "cuda_oom" and question and answer and capacity and answer.process_bytes > capacity:
        yield (
            f"{question.architecture.name} at {question.tokens:,} tokens × batch {question.batch:,} needs "
            f"{format_size(answer.process_bytes)} by our estimate, and the GPU has {format_size(capacity)}"
        )
    if oom.needed_bytes and capacity and oom.needed_bytes > capacity:
        yield (
            f"with it, tensors alone would take {format_size(oom.needed_bytes)}, and the GPU has "
            f"{format_size(capacity)}"
        )


def implied_tokens(oom: CudaOom, question: Question | None) -> str:
    """Return for how many tokens eager scores (batch × heads × tokens × tokens) in 16 bits are so large."""
    if question is None or "eager" not in oom.allocation.name:
        return ""
    attentions = [layer.attention for layer in question.architecture.layers]
    heads = {attention.heads for attention in attentions if isinstance(attention, Attention)}
    if len(heads) != 1:
        return ""
    tokens = math.isqrt(oom.tried_bytes // (2 * heads.pop() * question.batch))
    return f"scores of heads × tokens × tokens are that large at {tokens:,} tokens × batch {question.batch:,}"
