"""The terms of ``generate()`` on one stage: weights, cache, and what is beside them at the fullest moment."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.gpu_estimate import GpuEstimate, Reserve
from workshop_utils.memory.kv_cache import kv_cache_bytes, kv_cache_terms
from workshop_utils.memory.matrices import layer_matrices
from workshop_utils.memory.precisions import find_precision
from workshop_utils.memory.process import cublas_term, nccl_terms, process_term
from workshop_utils.memory.sharding import Shard
from workshop_utils.memory.tensors.generate import Generation, Peaks, peaks, reserved_bytes
from workshop_utils.memory.tensors.stage import stage_of
from workshop_utils.memory.tensors.style import style_of
from workshop_utils.memory.term import Certainty, Term
from workshop_utils.memory.weights import weight_terms
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture, Attention, LatentAttention

SOURCE = "the tensors of transformers 5.17's generate(), in its order; held against runs on H100 and H200"
ALLOCATOR = "c10/cuda/CUDACachingAllocator.cpp of torch 2.11, simulated; held against runs on H100 and H200"
# Formats whose matrices are unpacked into 16 bits for each product.
UNPACKED = ("nf4", "nf4-dq", "fp4", "int4", "gptq", "awq", "Q")


def replica_estimates(
    shards: Sequence[Shard], workload: Workload, gpu: Gpu | None
) -> tuple[GpuEstimate, ...]:
    """Return the estimates of the ranks of one replica, which hold ``shards``; equal ones once."""
    replica = replica_workload(workload)
    by_stage = {shard.stage: shard for shard in reversed(shards)}
    shared = {stage: shared_estimate(shard, replica, gpu) for stage, shard in by_stage.items()}
    return tuple(shared[shard.stage].as_rank(rank) for rank, shard in enumerate(shards))


@lru_cache(maxsize=1024, typed=True)
def replica_workload(workload: Workload) -> Workload:
    """Return what one replica runs."""
    return replace(workload, data_parallel=1, batch=workload.replica_batch)


@lru_cache(maxsize=8192)
def shared_estimate(shard: Shard, workload: Workload, gpu: Gpu | None) -> GpuEstimate:
    """Return the estimate of every rank that holds such a shard; equal ranks share it."""
    value_bytes = 4 if workload.dtype == "float32" else 2
    generation = generation_of(workload)
    stage = stage_of(shard)
    found = peaks(stage, generation, value_bytes)
    certainty = certainty_of(shard, workload)
    weights = weight_terms(shard, workload.dtype)
    cache = kv_cache_terms(shard, workload.tokens, workload.batch, workload.kv_dtype)
    moment = moment_terms(found, total(cache), shard, workload, certainty)
    beside = unpacked_terms(shard, workload)
    products = cublas_term(gpu)
    outside = (process_term(gpu), *nccl_terms(workload.tensor_parallel))
    # A cache in fewer bits stands in for the one that was computed with.
    shift = total(cache) + total(moment) - found.fullest.bytes
    lasting = total((*weights, *beside, products)) + shift
    loaded = (max(0, total(weights) + shift), *(term.bytes for term in beside))
    return GpuEstimate(
        rank=0,
        needed=(*weights, *cache, *moment, *beside, products, *outside),
        prefill_peak_bytes=lasting + found.prefill.bytes,
        decode_peak_bytes=lasting + found.decode.bytes if found.decode else None,
        reserve=Reserve(
            simulate=partial(reserved_bytes, stage, generation, value_bytes, loaded, products.bytes),
            limit_bytes=gpu.usable_bytes - total(outside) if gpu else None,
            source=ALLOCATOR,
            certainty=certainty,
        ),
    )


def total(terms: Iterable[Term]) -> int:
    """Return the sum of some terms in bytes."""
    return sum(term.bytes for term in terms)


def generation_of(workload: Workload) -> Generation:
    """Return what one replica generates."""
    return Generation(
        prompt=workload.prompt,
        new=workload.answer,
        batch=workload.batch,
        implementation=workload.attention,
        static=workload.cache == "static",
        padded=workload.padded,
        chunk=workload.prefill_chunk,
    )


def moment_terms(
    found: Peaks, cache_bytes: int, shard: Shard, workload: Workload, certainty: Certainty
) -> tuple[Term, ...]:
    """Return what stands beside weights and final cache at the fullest moment, without what is nothing.

    Where the cache of that moment is smaller than the final one, because the answer is still to come, the
    layer's own tensors are counted less so much.
    """
    moment = found.fullest
    phase = "prefill" if moment is found.prefill else "decoding"
    if workload.kv_dtype in KEPT_AS_COMPUTED:
        extra, words = moment.cache - cache_bytes, BEYOND
        missing = min(0, extra)
    else:
        extra, words = moment.cache // max(1, len(shard.layers)), UNPACKED_LAYER
        final = kv_cache_bytes(shard, workload.tokens, workload.batch, "bfloat16")
        missing = min(0, moment.cache - final) * cache_bytes // max(1, final)
    inside = moment.inside + missing
    where = (
        "before or after the layers"
        if moment.layer is None
        else f"in layer {shard.first_layer + moment.layer}"
    )
    rows = (
        ("cache beyond what is kept", max(0, extra), words),
        ("activations: attention mask", moment.masks, mask_words(workload)),
        ("activations: kept through the pass", moment.beside + min(0, inside), KEPT),
        (f"activations: {phase}, {where}", max(0, inside), INSIDE),
    )
    return tuple(
        Term(name, "activations", size, formula, SOURCE, certainty)
        for name, size, formula in rows
        if size > 0
    )


KEPT_AS_COMPUTED = ("bfloat16", "float16", "float32")
BEYOND = "K and V of the whole prompt that sliding layers hold until the next token, or a static cache's room"
UNPACKED_LAYER = "K and V of one layer in 16 bits while it is at work"
KEPT = "tokens × (4 integers, embedding, cosines and sines, the layer's input)"
INSIDE = "all tensors that are alive at the fullest moment, from the order in which they are made and freed"


def mask_words(workload: Workload) -> str:
    """Return the size of a mask in words."""
    if workload.attention == "eager":
        return "tokens × tokens × bytes of a value, for each kind of attention"
    return "tokens × tokens × 1 byte (bool), because a window or padding cannot be told to sdpa otherwise"


def unpacked_terms(shard: Shard, workload: Workload) -> tuple[Term, ...]:
    """Return the matrix that a quantised format unpacks for each product, the largest one."""
    if not workload.dtype.startswith(UNPACKED):
        return ()
    matrices = [
        matrix
        for layer in set(shard.layers)
        for matrix in layer_matrices(layer, shard.hidden_size)
        if matrix.part != "experts"
    ]
    size = 2 * max((matrix.rows * matrix.columns for matrix in matrices), default=0)
    formula = "the largest matrix in 16 bits, while it is multiplied with"
    return (
        Term(
            "one matrix unpacked",
            "activations",
            size,
            formula,
            find_precision(workload.dtype).source,
            "assumed",
        ),
    )


def certainty_of(shard: Shard, workload: Workload) -> Certainty:
    """Return measured for what runs on GPUs have confirmed, else assumed."""
    architecture = shard.architecture
    confirmed = (
        all_known(architecture)
        and not (workload.padded or workload.prefill_chunk)
        and workload.attention in CONFIRMED_ATTENTION
        and workload.tensor_parallel == 1
        and workload.dtype in KEPT_AS_COMPUTED
        and workload.kv_dtype in KEPT_AS_COMPUTED
    )
    return "measured" if confirmed else "assumed"


CONFIRMED_ATTENTION = ("sdpa", "eager")


@lru_cache(maxsize=256)
def all_known(architecture: Architecture) -> bool:
    """Return whether the order of tensors of every layer was read from the model's code."""
    known = style_of(architecture.model_type).known and not (architecture.counted or architecture.encoder)
    return known and all(
        isinstance(layer.attention, Attention | LatentAttention) for layer in architecture.layers
    )
