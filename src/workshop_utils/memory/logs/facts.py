"""What a log says, as data: nothing here is predicted, and nothing of the log's own wording is kept."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Literal

RefusalKind = Literal["kv_cache_too_small", "no_kv_memory", "gpu_in_use"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What was run; None where the log is silent. ``max_model_len`` in tokens."""

    version: str | None = None
    model: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    max_model_len: int | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int | None = None
    enable_expert_parallel: bool | None = None
    gpu_memory_utilization: float | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    enforce_eager: bool | None = None


@dataclass(frozen=True, slots=True)
class RankMemory:
    """What one rank reported, in bytes; ``rank`` counts within one replica, None where the log names none.

    ``consumed_bytes``: weights and non-torch memory together, all that vLLM prints from 0.28 on.
    """

    rank: int | None = None
    weights_bytes: int | None = None
    activation_bytes: int | None = None
    non_torch_bytes: int | None = None
    consumed_bytes: int | None = None
    cuda_graph_bytes: int | None = None
    kv_pool_bytes: int | None = None
    gpu_total_bytes: int | None = None
    gpu_free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class KvPool:
    """What vLLM made of its KV cache memory: tokens it holds, and requests of full length at a time."""

    tokens: int | None = None
    max_concurrency: float | None = None
    tokens_per_request: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why vLLM did not start; bytes as printed, None where the message has no such figure."""

    kind: RefusalKind
    needed_bytes: int | None = None
    available_bytes: int | None = None
    longest_model_len: int | None = None


@dataclass(frozen=True, slots=True)
class Allocation:
    """What was being allocated, told by the innermost frame that says so.

    ``kind`` is that of the estimate's term; ``engine`` and ``family`` (transformers' name, such as llama)
    are None where no frame tells.
    """

    name: str
    kind: Literal["weights", "kv_cache", "activations", "reserve", "training", "unknown"]
    engine: str | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class CudaOom:
    """One CUDA out-of-memory message of torch, in bytes; None where its version prints no such figure.

    ``allocated_bytes`` lives in tensors, ``unallocated_bytes`` is what the allocator holds beyond them,
    ``process_bytes`` is all that this process has, ``other_bytes`` what other processes have.
    """

    tried_bytes: int
    gpu_index: int | None = None
    capacity_bytes: int | None = None
    free_bytes: int | None = None
    process_bytes: int | None = None
    other_bytes: int = 0
    other_processes: int = 0
    allowed_bytes: int | None = None
    allocated_bytes: int | None = None
    unallocated_bytes: int | None = None
    allocation: Allocation = Allocation("not told by the traceback", "unknown")

    @property
    def needed_bytes(self) -> int | None:
        """What the tensors would have taken had the allocation succeeded: a lower bound of the peak."""
        return None if self.allocated_bytes is None else self.allocated_bytes + self.tried_bytes

    @property
    def overhead_bytes(self) -> int | None:
        """What the process has outside torch's allocator: CUDA context, libraries, NCCL."""
        if self.process_bytes is None or self.allocated_bytes is None:
            return None
        return self.process_bytes - self.allocated_bytes - (self.unallocated_bytes or 0)


@dataclass(frozen=True, slots=True)
class LogFacts:
    """All that was recognised in one log: of vLLM's last start, and of the first message out of memory."""

    source: Literal["vllm", "cuda_oom"]
    setup: Setup = Setup()
    ranks: tuple[RankMemory, ...] = ()
    pool: KvPool = KvPool()
    refusal: Refusal | None = None
    oom: CudaOom | None = None

    @property
    def engine(self) -> str:
        """The engine that ran: vllm, or transformers where nothing tells otherwise."""
        told = self.oom.allocation.engine if self.oom else None
        return "vllm" if self.source == "vllm" else told or "transformers"

    @property
    def gpu_bytes(self) -> int | None:
        """The GPU's memory as torch reports it, None where no line has it."""
        totals = [rank.gpu_total_bytes for rank in self.ranks if rank.gpu_total_bytes]
        return max(totals, default=self.oom.capacity_bytes if self.oom else None)

    @property
    def outcome(self) -> str:
        """In one word: started, out_of_memory, a refusal's kind, or unfinished."""
        if self.oom:
            return "out_of_memory"
        if self.refusal:
            return self.refusal.kind
        return (
            "started" if self.pool.tokens or any(rank.kv_pool_bytes for rank in self.ranks) else "unfinished"
        )

    def as_json(self) -> dict[str, object]:
        """Return every fact, sizes in bytes; facts that the log does not state are left out."""
        stated = {field.name: getattr(self, field.name) for field in fields(self)}
        parts = {name: dict(told(value)) for name, value in stated.items() if hasattr(value, "__slots__")}
        return {
            "source": self.source,
            "engine": self.engine,
            "outcome": self.outcome,
            "gpu_bytes": self.gpu_bytes,
            **{name: part for name, part in parts.items() if part},
            "ranks": [dict(told(rank)) for rank in self.ranks],
        }


def told(part: object) -> Iterator[tuple[str, object]]:
    """Yield the fields of a fact that the log stated."""
    for name, value in asdict(part).items():  # type: ignore[call-overload]
        if value is not None:
            yield name, value
