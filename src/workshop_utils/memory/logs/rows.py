"""The rows of a comparison: which figure of a log stands beside which of our estimate."""

from dataclasses import dataclass
from typing import Literal

from workshop_utils.memory.logs.facts import LogFacts, RankMemory
from workshop_utils.memory.logs.question import Answer


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity, predicted and actual in ``unit``; None where one side has no such figure.

    ``at_least``: the log's figure is only a lower bound, so that a larger prediction is no error.
    """

    name: str
    unit: Literal["bytes", "tokens", "requests"]
    predicted: float | None
    actual: float | None
    at_least: bool = False

    @property
    def gap(self) -> float | None:
        """Predicted less actual, None where a side is missing or the bound holds."""
        if self.predicted is None or self.actual is None:
            return None
        if self.at_least and self.predicted >= self.actual:
            return None
        return self.predicted - self.actual

    @property
    def error_percent(self) -> float | None:
        """The gap in percent of the actual figure."""
        return None if self.gap is None or not self.actual else 100 * self.gap / self.actual

    def as_json(self) -> dict[str, object]:
        error = self.error_percent
        return {
            "name": self.name,
            "unit": self.unit,
            "predicted": self.predicted,
            "actual": self.actual,
            "at_least": self.at_least,
            "error_percent": None if error is None else round(error, 2),
        }


VLLM_NAMES = {
    "weights_bytes": "weights",
    "activation_bytes": "peak activation",
    "non_torch_bytes": "outside torch (CUDA, NCCL)",
    "consumed_bytes": "weights and outside torch",
    "cuda_graph_bytes": "CUDA graphs",
    "kv_pool_bytes": "KV cache pool",
}


def vllm_rows(facts: LogFacts, reported: RankMemory, answer: Answer | None) -> tuple[Row, ...]:
    """Return the rows of a vLLM log: terms of the rank that limits, then what its pool holds."""
    if facts.source != "vllm":
        return ()
    rows = []
    for field, name in VLLM_NAMES.items():
        predicted, actual = predicted_size(field, answer), getattr(reported, field)
        combined = field == "consumed_bytes"
        if actual is not None or (predicted is not None and not combined):
            rows.append(Row(name, "bytes", predicted, actual))
    refusal = facts.refusal
    if refusal and refusal.available_bytes is not None and reported.kv_pool_bytes is None:
        rows = [row for row in rows if row.name != VLLM_NAMES["kv_pool_bytes"]]
        pool = predicted_size("kv_pool_bytes", answer)
        rows.append(Row(VLLM_NAMES["kv_pool_bytes"], "bytes", pool, refusal.available_bytes))
    if refusal and refusal.kind == "kv_cache_too_small" and refusal.needed_bytes is not None:
        request = answer.request_bytes if answer else None
        rows.append(Row("KV cache of one request", "bytes", request, refusal.needed_bytes))
    return (*rows, *pool_rows(facts, answer))


def predicted_size(field: str, answer: Answer | None) -> int | None:
    """Return our figure for a field of ``RankMemory``; weights and non-torch are added up where vLLM does."""
    if answer is None:
        return None
    if field == "consumed_bytes":
        parts = [answer.sizes["weights_bytes"], answer.sizes["non_torch_bytes"]]
        return sum(part for part in parts if part is not None)
    return answer.sizes[field]


def pool_rows(facts: LogFacts, answer: Answer | None) -> list[Row]:
    """Return tokens in the KV cache and concurrent requests of full length."""
    tokens, concurrency = (answer.tokens, answer.max_concurrency) if answer else (None, None)
    rows = [
        Row("KV cache size", "tokens", tokens, facts.pool.tokens),
        Row("maximum concurrency", "requests", concurrency, facts.pool.max_concurrency),
    ]
    return [row for row in rows if row.actual is not None or row.predicted is not None]


def oom_rows(facts: LogFacts, answer: Answer | None) -> tuple[Row, ...]:
    """Return the rows of a message out of memory: its allocator beside our peak, its process beside ours."""
    oom = facts.oom
    if oom is None:
        return ()
    # vLLM fills its budget on purpose: our peak of it is no prediction of this moment.
    mine = answer if facts.source == "cuda_oom" else None
    peak = mine.peak_bytes if mine else None
    reserve = mine.sizes["cuda_graph_bytes"] if mine else None
    process = mine.sizes["non_torch_bytes"] if mine else None
    rows = (
        Row("tensors, with the one that failed", "bytes", peak, oom.needed_bytes, True),
        Row("held by the allocator, unused", "bytes", reserve, oom.unallocated_bytes),
        Row("outside torch (CUDA, libraries)", "bytes", process, oom.overhead_bytes),
        Row("other processes on the GPU", "bytes", None, oom.other_bytes or None),
    )
    return tuple(row for row in rows if row.actual is not None or row.predicted is not None)
