"""What to ask our estimate so that it answers for the run that the log tells of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.estimate import Estimate, GpuEstimate, estimate
from workshop_utils.memory.logs.engines import engines_of
from workshop_utils.memory.logs.facts import LogFacts
from workshop_utils.memory.logs.names import cache_precision, gpu_of, weights_precision
from workshop_utils.memory.workload import find_engine
from workshop_utils.models.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Choices:
    """What a reader adds to a log, or sets against it; None leaves it to the log."""

    tokens: int | None = None
    batch: int | None = None
    dtype: str | None = None
    kv_dtype: str | None = None
    attention: str | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    gpu_memory_utilization: float | None = None
    engine_version: str | None = None
    gpu: Gpu | None = None

    @property
    def any(self) -> bool:
        """Whether the reader added anything."""
        return any(getattr(self, field.name) is not None for field in fields(self))


@dataclass(frozen=True, slots=True)
class Question:
    """The keywords of one ``estimate()``; None leaves a keyword to the engine's own default."""

    architecture: Architecture
    tokens: int
    batch: int
    dtype: str
    engine: str
    kv_dtype: str | None = None
    attention: str | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: bool = False
    gpu: Gpu | None = None
    engine_version: str | None = None
    gpu_memory_utilization: float | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None

    @property
    def keywords(self) -> dict[str, object]:
        """The keywords that are set, without the architecture."""
        stated = ((field.name, getattr(self, field.name)) for field in fields(self)[1:])
        return {name: value for name, value in stated if value is not None}

    def changed(self, **changes: object) -> "Question":
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Answer:
    """An estimate in the terms of logs: bytes of the rank asked for, None where there is no such term."""

    sizes: Mapping[str, int | None]
    tokens: int | None
    max_concurrency: float | None
    peak_bytes: int
    process_bytes: int

    @property
    def request_bytes(self) -> float | None:
        """KV cache that vLLM needs for one request of full length."""
        pool = self.sizes["kv_pool_bytes"]
        return pool / self.max_concurrency if pool and self.max_concurrency else None


def ask(question: Question, rank: int | None = None) -> Answer:
    """Return our estimate, of ``rank`` or of the fullest GPU. Raises WorkshopError as ``estimate`` does."""
    find_engine(question.engine)
    result: Estimate = estimate(question.architecture, **question.keywords)  # type: ignore[arg-type]
    ranks = result.per_gpu
    fullest = max(ranks, key=lambda gpu: gpu.process_bytes)
    if rank is None and question.expert_parallel:
        # A worker alone in its engine has no rank in its name, and only the first engine is read.
        rank = 0
    gpu = ranks[rank] if rank is not None and rank < len(ranks) else fullest
    vllm = result.as_json().get("vllm")
    pool = vllm if isinstance(vllm, dict) else {}
    return Answer(
        sizes={
            "weights_bytes": of_kind(gpu, "weights"),
            "activation_bytes": pool.get("activation_bytes", of_kind(gpu, "activations")),
            "non_torch_bytes": pool.get("non_torch_bytes", of_kind(gpu, "process")),
            "cuda_graph_bytes": pool.get("cuda_graph_bytes", of_kind(gpu, "reserve")),
            "kv_pool_bytes": pool.get("kv_pool_bytes", of_kind(gpu, "kv_cache")),
        },
        tokens=pool.get("kv_cache_tokens"),
        max_concurrency=pool.get("max_concurrency"),
        peak_bytes=gpu.peak_bytes,
        process_bytes=gpu.process_bytes,
    )


def of_kind(gpu: GpuEstimate, kind: str) -> int | None:
    """Return the bytes of a kind of term, None where the engine's estimate has no such term."""
    sizes = [term.bytes for term in gpu.terms if term.kind == kind]
    return sum(sizes) if sizes else None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, or the options ``missing`` for it; ``assumed`` is what was filled in."""

    question: Question | None
    missing: tuple[str, ...]
    assumed: tuple[str, ...]


def question_of(facts: LogFacts, architecture: Architecture | None, choices: Choices) -> Asked:
    """Return what to ask for the run of a log; a reader's choice counts before the log."""
    setup, vllm = facts.setup, facts.engine == "vllm"
    tokens = chosen(choices.tokens, setup.max_model_len)
    gpu = gpu_of(facts.gpu_bytes, choices.gpu)
    published = (architecture.stored_as or architecture.dtype) if architecture else None
    known = chosen(choices.dtype, weights_precision(setup.dtype, setup.quantization))
    dtype = chosen(known, None if setup.quantization else published or "bfloat16")
    wanted = {"--model": architecture, "--tokens": tokens, "--dtype": dtype, "--gpu": gpu if vllm else ""}
    missing = tuple(option for option, value in wanted.items() if value is None)
    if architecture is None or tokens is None or dtype is None or missing:
        return Asked(None, missing, ())
    stages = chosen(choices.pipeline_parallel, setup.pipeline_parallel_size, 1)
    question = Question(
        architecture=architecture,
        tokens=tokens,
        batch=chosen(choices.batch, 1),
        dtype=dtype,
        engine=facts.engine,
        kv_dtype=chosen(choices.kv_dtype, cache_precision(setup.kv_cache_dtype)),
        attention=chosen(choices.attention, told_attention(facts)),
        tensor_parallel=chosen(choices.tensor_parallel, setup.tensor_parallel_size, reporting(facts, stages)),
        pipeline_parallel=stages,
        gpu=gpu,
    )
    if vllm:
        question = question.changed(
            **engines_of(setup, question.tensor_parallel),
            engine_version=chosen(choices.engine_version, setup.version),
            gpu_memory_utilization=chosen(choices.gpu_memory_utilization, setup.gpu_memory_utilization),
            max_num_batched_tokens=setup.max_num_batched_tokens,
            max_num_seqs=setup.max_num_seqs,
        )
    return Asked(question, (), tuple(silences(facts, choices, question, known is None)))


def chosen(*values: Any) -> Any:
    """Return the first value that is not None, None where all are."""
    return next((value for value in values if value is not None), None)


def silences(facts: LogFacts, choices: Choices, question: Question, dtype_guessed: bool) -> Iterator[str]:
    """Yield what was assumed because neither log nor reader says it, with the option that says it."""
    vllm = question.engine == "vllm"
    if dtype_guessed:
        yield f"weights in {question.dtype}, as published (--dtype)"
    if not vllm and choices.batch is None:
        yield "batch 1 (--batch)"
    if question.tensor_parallel > 1 and not (choices.tensor_parallel or facts.setup.tensor_parallel_size):
        yield f"tensor parallel {question.tensor_parallel}, for so many ranks report (--tp)"
    if vllm and question.gpu_memory_utilization is None:
        yield "vLLM's default of gpu_memory_utilization (--utilization)"
    if vllm and question.engine_version is None:
        yield "the newest version of vLLM that we know (--vllm-version)"


def reporting(facts: LogFacts, stages: int) -> int:
    """Return the tensor parallel size of the ranks that the log shows, in so many pipeline stages."""
    ranks = 1 + max((rank.rank or 0 for rank in facts.ranks), default=0)
    return max(1, ranks // max(1, stages))


def told_attention(facts: LogFacts) -> str | None:
    """Return the attention implementation that a traceback names."""
    allocation = facts.oom.allocation.name if facts.oom else ""
    return "eager" if "eager" in allocation else None
