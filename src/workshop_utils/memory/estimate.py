"""The memory that a model needs on each GPU, as a sum of terms that a reader can inspect."""

from dataclasses import asdict, dataclass

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.precisions import find_precision, kv_precision
from workshop_utils.memory.term import Kind, Term
from workshop_utils.memory.workload import Workload, find_engine
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.units import format_gb


@dataclass(frozen=True, slots=True)
class GpuEstimate:
    """The terms of one rank, in bytes."""

    rank: int
    terms: tuple[Term, ...]

    def bytes_of(self, *kinds: Kind) -> int:
        return sum(term.bytes for term in self.terms if term.kind in kinds)

    @property
    def peak_bytes(self) -> int:
        """Prediction of ``torch.cuda.max_memory_allocated()``: what lives in the allocator."""
        return self.process_bytes - self.bytes_of("process")

    @property
    def process_bytes(self) -> int:
        """Prediction of what NVML shows for the process: all terms."""
        return sum(term.bytes for term in self.terms)

    def as_json(self) -> dict[str, object]:
        return {
            "rank": self.rank,
            "terms": [term.as_json() for term in self.terms],
            "peak_bytes": self.peak_bytes,
            "process_bytes": self.process_bytes,
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted memory of one workload. While ``not_counted`` names anything, every figure is a lower bound.

    ``weights_bytes`` and ``kv_cache_bytes`` sum over the GPUs; ``peak_bytes`` and ``process_bytes`` are those
    of the fullest GPU.
    """

    model: str
    parameters: int
    workload: Workload
    gpu: Gpu | None
    per_gpu: tuple[GpuEstimate, ...]
    not_counted: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def weights_bytes(self) -> int:
        return sum(gpu.bytes_of("weights") for gpu in self.per_gpu)

    @property
    def kv_cache_bytes(self) -> int:
        return sum(gpu.bytes_of("kv_cache") for gpu in self.per_gpu)

    @property
    def peak_bytes(self) -> int:
        return max(gpu.peak_bytes for gpu in self.per_gpu)

    @property
    def process_bytes(self) -> int:
        return max(gpu.process_bytes for gpu in self.per_gpu)

    def as_json(self) -> dict[str, object]:
        """Return the schema of ``workshop estimate --json``; all sizes in bytes."""
        return {
            "model": self.model,
            "parameters": self.parameters,
            **asdict(self.workload),
            "gpu": self.gpu.name if self.gpu else None,
            "per_gpu": [gpu.as_json() for gpu in self.per_gpu],
            "weights_bytes": self.weights_bytes,
            "kv_cache_bytes": self.kv_cache_bytes,
            "peak_bytes": self.peak_bytes,
            "process_bytes": self.process_bytes,
            "lower_bound": bool(self.not_counted),
            "not_counted": list(self.not_counted),
            "notes": list(self.notes),
        }


def estimate(  # noqa: PLR0913 - one keyword for each thing that a reader can choose
    architecture: Architecture,
    *,
    tokens: int,
    batch: int = 1,
    dtype: str = "bfloat16",
    kv_dtype: str | None = None,
    engine: str = "transformers",
    attention: str = "sdpa",
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    gpu: Gpu | None = None,
) -> Estimate:
    """Return the predicted memory of ``batch`` sequences of ``tokens`` tokens (prompt and answer together).

    ``kv_dtype`` None keeps the cache in the weights' precision, or bfloat16 where those are quantised.
    ``gpu`` only settles whether the process overhead was measured on that type. Raises WorkshopError.
    """
    cache = kv_precision(dtype, kv_dtype)
    workload = Workload(tokens, batch, dtype, cache, engine, attention, tensor_parallel, pipeline_parallel)
    module = find_engine(engine)
    ranks = module.gpu_terms(architecture, workload, gpu)
    return Estimate(
        model=architecture.name,
        parameters=count_parameters(architecture).total,
        workload=workload,
        gpu=gpu,
        per_gpu=tuple(GpuEstimate(rank, terms) for rank, terms in enumerate(ranks)),
        not_counted=module.not_counted(architecture, workload),
        notes=tuple(notes(architecture, workload)),
    )


def notes(architecture: Architecture, workload: Workload) -> list[str]:
    """Return what a reader should know about this estimate, one sentence each."""
    found = []
    if architecture.max_positions and workload.tokens > architecture.max_positions:
        found.append(
            f"{workload.tokens:,} tokens are more than the {architecture.max_positions:,} positions "
            "that the model's config states."
        )
    if architecture.stored_as and architecture.stored_as != workload.dtype:
        found.append(f"The published weights are stored as {architecture.stored_as}, not {workload.dtype}.")
    if find_precision(workload.dtype).gguf and workload.engine == "transformers":
        found.append(
            "transformers 5.17 leaves a GGUF file's weights in their blocks only where it has a kernel for "
            "the device, and unpacks the whole model elsewhere; this estimate is for blocks."
        )
    if workload.dtype == "int4" and any(layer.experts for layer in architecture.layers):
        experts_bytes = count_parameters(architecture).by_part["experts"] * 2
        found.append(
            f"bitsandbytes in transformers 5.17 leaves the experts in bfloat16, which alone take "
            f"{format_gb(experts_bytes)}; this estimate is for a loader that shrinks them too."
        )
    return found
