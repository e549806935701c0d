"""Plain transformers, ``generate()`` on one GPU."""

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.kv_cache import kv_cache_terms
from workshop_utils.memory.process import process_term
from workshop_utils.memory.sharding import whole_model
from workshop_utils.memory.term import Term
from workshop_utils.memory.weights import weight_terms
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture
from workshop_utils.units import format_gb

ATTENTION = ("sdpa",)
TENSOR_PARALLEL = (1,)
PIPELINE_PARALLEL = (1,)
# From seven runs on an H200: transformers 5.17.0, torch 2.11.0, two models, 4,096 to 131,072 tokens.
RESERVE = "what the allocator reserves beyond its peak (1 to 16 % measured)"


# An explicit mask of tokens × tokens, once as bool and once in bfloat16: measured for Gemma 3 4B on the H200.
MASK_BYTES = 3


def not_counted(architecture: Architecture, workload: Workload) -> tuple[str, ...]:
    """Return what is missing from the figures of this model.

    Sliding layers: DynamicCache keeps views into K and V of the whole prompt until the next token replaces
    them (transformers 5.17), and sdpa takes an explicit mask.
    """
    mask_bytes = MASK_BYTES * workload.tokens**2
    sliding = (
        "K and V of the whole prompt, which sliding layers hold until the first new token",
        f"their attention mask (about {format_gb(mask_bytes)} at this length)",
    )
    slides = any(layer.attention.window for layer in architecture.layers)
    return ("activations of the prefill", *(sliding if slides else ()), RESERVE)


def gpu_terms(
    architecture: Architecture, workload: Workload, gpu: Gpu | None
) -> tuple[tuple[Term, ...], ...]:
    """Return the terms of the one GPU: the whole model, the whole cache, and the process around them."""
    return (
        (
            *weight_terms(whole_model(architecture), workload.dtype),
            *kv_cache_terms(architecture, workload.tokens, workload.batch, workload.kv_dtype),
            process_term(gpu),
        ),
    )
