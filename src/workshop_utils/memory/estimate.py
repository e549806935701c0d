"""The memory that a model needs on each GPU, as a sum of terms that a reader can inspect."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.memory.layout_check import check_layout
from workshop_utils.memory.precisions import find_precision, kv_precision
from workshop_utils.memory.workload import ENGINE_ONLY, NEW_TOKENS, Workload, find_engine
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.units import format_gb

__all__ = ["Estimate", "GpuEstimate", "estimate"]

# FlashAttention 2 is written for Ampere and newer GPUs: https://github.com/Dao-AILab/flash-attention
OLDEST_FLASH = 8.0


@dataclass(frozen=True)
class Estimate:
    """Predicted memory of one workload. Where ``not_counted`` names anything, every figure is a lower bound.

    ``weights_bytes`` and ``kv_cache_bytes`` sum over the GPUs; ``peak_bytes`` and ``process_bytes`` are those
    of the fullest GPU. ``figures`` are the engine's own, such as vLLM's blocks.
    """

    model: str
    parameters: int
    workload: Workload
    gpu: Gpu | None
    per_gpu: tuple[GpuEstimate, ...]
    not_counted: tuple[str, ...]
    notes: tuple[str, ...]
    figures: Mapping[str, Any]

    @property
    def weights_bytes(self) -> int:
        return sum(gpu.bytes_of("weights") for gpu in self.per_gpu)

    @property
    def kv_cache_bytes(self) -> int:
        return sum(gpu.bytes_of("kv_cache") for gpu in self.per_gpu)

    @cached_property
    def fullest(self) -> GpuEstimate:
        """The GPU that needs most, which decides."""
        return max(self.per_gpu, key=lambda gpu: gpu.needed_bytes)

    @property
    def peak_bytes(self) -> int:
        return max(gpu.peak_bytes for gpu in self.per_gpu)

    @property
    def process_bytes(self) -> int:
        return max(gpu.process_bytes for gpu in self.per_gpu)

    def fits(self, gpu: Gpu) -> bool:
        """Return whether every rank ends on a GPU of this type."""
        return all(rank.fits(gpu.usable_bytes) for rank in dict.fromkeys(self.per_gpu))

    def as_json(self) -> dict[str, object]:
        """Return the schema of ``workshop estimate --json``; all sizes in bytes."""
        workload = asdict(self.workload)
        arguments = {name: workload.pop(name) for name in ENGINE_ONLY}
        return {
            "model": self.model,
            "parameters": self.parameters,
            **workload,
            "expert_parallel": self.workload.expert_ranks,
            **{name: value for name, value in arguments.items() if value is not None},
            "gpu": self.gpu.name if self.gpu else None,
            "per_gpu": [gpu.as_json() for gpu in self.per_gpu],
            "weights_bytes": self.weights_bytes,
            "kv_cache_bytes": self.kv_cache_bytes,
            "peak_bytes": self.peak_bytes,
            "process_bytes": self.process_bytes,
            "fits": self.fits(self.gpu) if self.gpu else None,
            "lower_bound": bool(self.not_counted),
            "not_counted": list(self.not_counted),
            "notes": list(self.notes),
            **({self.workload.engine: dict(self.figures)} if self.figures else {}),
        }


def estimate(  # noqa: PLR0913 - one keyword for each thing that a reader can choose
    architecture: Architecture,
    *,
    tokens: int,
    batch: int = 1,
    dtype: str = "bfloat16",
    kv_dtype: str | None = None,
    engine: str = "transformers",
    attention: str | None = None,
    gpu: Gpu | None = None,
    **options: Any,
) -> Estimate:
    """Return the predicted memory of ``batch`` sequences of ``tokens`` tokens (prompt and answer together).

    ``kv_dtype`` None keeps the cache in the weights' precision, or bfloat16 where those are quantised;
    ``attention`` None is the engine's own. ``gpu`` bounds what an allocator reserves, and an engine such as
    vLLM fills it. ``options`` are the other fields of ``Workload``. Raises WorkshopError.
    """
    cache = kv_precision(dtype, kv_dtype)
    module = find_engine(engine)
    defaults = {"cache": module.CACHES[0], "new_tokens": max(1, min(NEW_TOKENS, tokens))}
    options = defaults | {name: value for name, value in options.items() if value is not None}
    workload = Workload(tokens, batch, dtype, cache, engine, attention or module.ATTENTION[0], **options)
    check_layout(architecture, workload.tensor_parallel, workload.pipeline_parallel, workload.expert_parallel)
    check_kernel(workload.attention, gpu)
    found = module.assess(architecture, workload, gpu)
    return Estimate(
        model=architecture.name,
        parameters=count_parameters(architecture).total,
        workload=workload,
        gpu=gpu,
        per_gpu=found.ranks,
        not_counted=found.not_counted,
        notes=(*found.notes, *notes(architecture, workload)),
        figures=found.figures,
    )


def check_kernel(attention: str, gpu: Gpu | None) -> None:
    """Raise WorkshopError where a GPU is too old for FlashAttention 2."""
    if attention == "flash_attention_2" and gpu and float(gpu.compute_capability) < OLDEST_FLASH:
        raise WorkshopError(
            f"flash_attention_2 needs compute capability {OLDEST_FLASH} or more, and {gpu.name} has "
            f"{gpu.compute_capability}; choose attention sdpa or eager."
        )


def notes(architecture: Architecture, workload: Workload) -> list[str]:
    """Return what a reader should know about this estimate, one sentence each."""
    found = []
    idle = workload.data_parallel - workload.batch
    if idle > 0:
        found.append(
            f"{idle} of the {workload.data_parallel} replicas get none of the {workload.batch} sequences; "
            "they are shown as if they had one."
        )
    if architecture.max_positions and workload.tokens > architecture.max_positions:
        found.append(
            f"{workload.tokens:,} tokens are more than the {architecture.max_positions:,} positions "
            "that the model's config states."
        )
    if architecture.stored_as and architecture.stored_as != workload.dtype:
        found.append(f"The published weights are stored as {architecture.stored_as}, not {workload.dtype}.")
    if any(layer.counted for layer in architecture.layers):
        found.append(
            f"How {architecture.model_type} computes was not read: weights and cache are those of the model "
            "that transformers builds, and activations are Llama's at the same widths."
        )
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
