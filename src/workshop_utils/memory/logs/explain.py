"""The largest gap between prediction and log in plain words, as far as figures tell its cause."""

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.logs.facts import LogFacts
from workshop_utils.memory.logs.out_of_memory import why_out_of_memory
from workshop_utils.memory.logs.question import Answer, Question, ask
from workshop_utils.memory.logs.rows import VLLM_NAMES, Row
from workshop_utils.memory.logs.text import format_size
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS
from workshop_utils.units import GIB

# vLLM prints hundredths of a GiB.
PRINTED_BYTES = GIB / 100
# Another precision differs by far more.
SAME_SIZE = 0.02
POOL = VLLM_NAMES["kv_pool_bytes"]
CAUSES = {
    VLLM_NAMES[
        "activation_bytes"
    ]: "it is vLLM's profiling run: max_num_batched_tokens through the layers, then "
    "the sampler for max_num_seqs sequences over the vocabulary",
    VLLM_NAMES[
        "non_torch_bytes"
    ]: "it is CUDA's context and, on several GPUs, NCCL's buffers, which depend on driver and links",
    VLLM_NAMES["cuda_graph_bytes"]: "it grows with the number of batch sizes that vLLM captures",
    VLLM_NAMES["consumed_bytes"]: "vLLM adds both up from 0.28 on, and CUDA's context differs by driver",
    "tensors, with the one that failed": "more was alive than this model at these tokens and this batch: "
    "a second model, outputs kept in a list, gradients, or a longer input than stated",
    "held by the allocator, unused": "it depends on the order in which tensors came and went",
    "outside torch (CUDA, libraries)": "it is CUDA's context and every library that the process loaded",
}


def explain(facts: LogFacts, question: Question | None, answer: Answer | None, rows: tuple[Row, ...]) -> str:
    """Return one or two sentences: why memory ran out, where it did, then the largest gap."""
    parts = [
        why_out_of_memory(facts, question, answer),
        room_against_log(facts, answer),
        largest_gap(question, rows),
    ]
    return " ".join(part for part in parts if part)


def room_against_log(facts: LogFacts, answer: Answer | None) -> str:
    """Return a sentence where the log says that no cache is left, and our estimate leaves one."""
    pool = answer.sizes["kv_pool_bytes"] if answer else None
    if facts.outcome != "no_kv_memory" or not pool or pool <= 0:
        return ""
    return (
        f"By our estimate {format_size(pool)} would be left, so something that the log does not state is "
        "different: a smaller share of the GPU (--utilization), another process on it, or other weights."
    )


def largest_gap(question: Question | None, rows: tuple[Row, ...]) -> str:
    """Return the row of bytes that is furthest off, with what would explain it."""
    gaps = [row for row in rows if row.unit == "bytes" and row.gap is not None]
    if question is None or not gaps:
        return ""
    # The pool is what the others leave and mirrors their gaps, so it is told only where it stands alone.
    row = max([row for row in gaps if row.name != POOL] or gaps, key=lambda row: abs(row.gap or 0))
    gap = row.gap or 0
    if abs(gap) <= PRINTED_BYTES:
        return "Every term is as logged, within what the log rounds to."
    percent = f" ({row.error_percent:+.1f} %)" if row.error_percent is not None else ""
    direction = "more" if gap > 0 else "less"
    return (
        f"The largest gap is {row.name}: {format_size(abs(gap))} {direction} predicted than logged{percent}; "
        f"{cause(row, question)}."
    )


def cause(row: Row, question: Question) -> str:
    """Return what may be behind a gap; computed where an estimate can tell."""
    if row.name == VLLM_NAMES["weights_bytes"]:
        return weights_cause(row, question)
    if row.name == POOL:
        return share_cause(row, question)
    if row.name == "KV cache of one request":
        return request_cause(row, question)
    return CAUSES[row.name]


def weights_cause(row: Row, question: Question) -> str:
    """Return the precision that would give the logged weights, if one does."""
    near = abs(row.error_percent or 0) <= 100 * SAME_SIZE
    for name in () if near else PRECISIONS:
        size = None if name == question.dtype else asked(question.changed(dtype=name))
        weights = size.sizes["weights_bytes"] if size else None
        if weights and alike(weights, row):
            return f"weights in {name} would be {format_size(weights)}, as logged, so give --dtype {name}"
    if (row.gap or 0) < 0:
        return "an adapter, a draft model or a part that stays in 16 bits is in the log's figure"
    return "a part that this estimate counts, such as the image tower, was not loaded"


def request_cause(row: Row, question: Question) -> str:
    """Return the cache precision that would give the logged request, if one does."""
    for name in KV_BITS:
        size = None if name == question.kv_dtype else asked(question.changed(kv_dtype=name))
        if size and size.request_bytes and alike(size.request_bytes, row):
            request = format_size(size.request_bytes)
            return f"a KV cache in {name} would need {request}, as logged, so give --kv-dtype {name}"
    return "vLLM pads layers of several kinds to groups of equal size, and versions differ in how"


def share_cause(row: Row, question: Question) -> str:
    """Return the share of the GPU that would give the logged pool."""
    share, total = question.gpu_memory_utilization, question.gpu.usable_bytes if question.gpu else 0
    if not total:
        return "the pool is what the other terms leave"
    shift = -(row.gap or 0) / total
    if share is None:
        return f"the log states no gpu_memory_utilization; one that differs by {shift:+.3f} would explain it"
    return f"a gpu_memory_utilization of {share + shift:.3f} in place of {share:g} would explain it"


def asked(question: Question) -> Answer | None:
    """Return the answer, None where this cannot be estimated."""
    try:
        return ask(question)
    except WorkshopError:
        return None


def alike(size: float, row: Row) -> bool:
    return abs(size - (row.actual or 0)) <= SAME_SIZE * size
