"""Plain transformers, ``generate()`` on one GPU."""

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.kv_cache import kv_cache_terms
from workshop_utils.memory.process import process_term
from workshop_utils.memory.term import Term
from workshop_utils.memory.weights import weight_terms
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture

ATTENTION = ("sdpa",)
TENSOR_PARALLEL = (1,)
PIPELINE_PARALLEL = (1,)
NOT_COUNTED = (
    "activations of the prefill",
    "the attention mask of models with sliding layers",
    "what the allocator reserves beyond its peak (1 to 16 % measured)",
)


def gpu_terms(
    architecture: Architecture, workload: Workload, gpu: Gpu | None
) -> tuple[tuple[Term, ...], ...]:
    """Return the terms of the one GPU: the whole model, the whole cache, and the process around them."""
    return (
        (
            *weight_terms(architecture, workload.dtype),
            *kv_cache_terms(architecture, workload.tokens, workload.batch, workload.kv_dtype),
            process_term(gpu),
        ),
    )
