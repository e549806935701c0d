"""A law of memory that can be worked out by hand, in place of the estimate, and logs in its figures."""

from dataclasses import dataclass
from types import SimpleNamespace

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.logs.compare import Comparison
from workshop_utils.models.architecture import Architecture

GIB = 2**30
WEIGHTS = {"float32": 32, "bfloat16": 16, "float16": 16, "int8": 8, "fp8": 8, "nf4": 4}  # GiB
PER_TOKEN = GIB // 8192
SEQUENCES_BYTES = GIB // 128
# vLLM's constants in this law.
ACTIVATION, NON_TORCH, GRAPHS = GIB, GIB // 4, GIB // 2


@dataclass(frozen=True)
class Gpu:
    rank: int
    sizes: dict[str, int]

    @property
    def terms(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(kind=kind, bytes=size) for kind, size in self.sizes.items()]

    @property
    def peak_bytes(self) -> int:
        return self.process_bytes - self.sizes.get("process", 0)

    @property
    def process_bytes(self) -> int:
        return sum(self.sizes.values())


@dataclass(frozen=True)
class Law:
    """An estimate: weights by precision, a cache by token; vLLM's pool is what its share leaves."""

    per_gpu: tuple[Gpu, ...]
    extra: dict[str, dict[str, float]]

    def as_json(self) -> dict[str, dict[str, float]]:
        return self.extra


def law(_: Architecture, **asked) -> Law:  # type: ignore[no-untyped-def]
    if asked["dtype"] not in WEIGHTS:
        raise WorkshopError(f"precision {asked['dtype']!r} is not known; choose one of {', '.join(WEIGHTS)}.")
    ranks = asked["tensor_parallel"] * asked["pipeline_parallel"]
    weights = WEIGHTS[asked["dtype"]] * GIB // ranks
    per_token = PER_TOKEN // ranks // (2 if asked.get("kv_dtype") == "fp8" else 1)
    cache = per_token * asked["tokens"] * asked["batch"]
    activations = asked["tokens"] ** 2 * 64 if asked.get("attention") == "eager" else 0
    if asked["engine"] == "transformers":
        sizes = {"weights": weights, "kv_cache": cache, "activations": activations, "process": NON_TORCH}
        return Law(tuple(Gpu(rank, sizes) for rank in range(ranks)), {})
    share = asked.get("gpu_memory_utilization", 0.9)
    sampler = asked.get("max_num_seqs", 256) * SEQUENCES_BYTES
    pool = round(share * asked["gpu"].usable_bytes) - weights - ACTIVATION - sampler - NON_TORCH - GRAPHS
    vllm = {
        "kv_pool_bytes": pool, "kv_cache_tokens": pool // per_token, "max_concurrency": pool / cache,
        "activation_bytes": ACTIVATION + sampler, "non_torch_bytes": NON_TORCH, "cuda_graph_bytes": GRAPHS,
    }  # fmt: skip
    return Law(
        tuple(Gpu(rank, {"weights": weights, "kv_cache": max(pool, 0)}) for rank in range(ranks)),
        {"vllm": vllm},
    )


def vllm_log(tokens: int, share: float, total: float = 24.0, tail: str = "", **arguments: object) -> str:
    config = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return (
        f"non-default args: {{'gpu_memory_utilization': {share}, 'max_num_seqs': 256}}\n"
        f"Initializing a V1 LLM engine (v0.26.0) with config: model='meta-llama/Llama-3.1-8B', "
        f"dtype=torch.bfloat16, max_seq_len={tokens}, {config}\n"
        f"Free memory on device cuda:0 ({total - 0.5}/{total} GiB) on startup\n{tail}"
    )


def too_long(tokens: int, share: float, available: float, needed: float) -> str:
    refusal = (
        f"max seq len ({tokens}), ({needed} GiB KV cache is needed, which is larger than the available KV "
        f"cache memory ({available} GiB). Based on the available memory, the estimated "
        "maximum model length is 1."
    )
    return vllm_log(tokens, share, tail=refusal)


def oom(capacity: float, allocated: float, tried: float, middle: str = "") -> str:
    return (
        f"CUDA out of memory. Tried to allocate {tried:.2f} GiB. GPU 0 has a total capacity of "
        f"{capacity:.2f} GiB of which 0.10 GiB is free. {middle}Including non-PyTorch memory, this process "
        f"has {allocated + 0.3:.2f} GiB memory in use. Of the allocated memory {allocated:.2f} GiB is "
        "allocated by PyTorch, and 0.05 GiB is reserved by PyTorch but unallocated."
    )


def advice(result: Comparison) -> dict[str, str]:
    return {piece.option: piece.value for piece in result.advice}
