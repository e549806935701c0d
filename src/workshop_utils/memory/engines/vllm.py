"""vLLM: a share of the GPU is asked for, and what weights and start-up leave of it becomes the KV cache."""

from collections.abc import Iterator
from functools import lru_cache

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.assessment import Assessment
from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.memory.kv_precisions import KV_BITS
from workshop_utils.memory.precisions import Precision, find_precision
from workshop_utils.memory.term import Certainty, Term
from workshop_utils.memory.vllm import releases
from workshop_utils.memory.vllm.budget import Budget, StageBudget, plan
from workshop_utils.memory.vllm.experts import check_experts, most_ranks
from workshop_utils.memory.vllm.non_torch import ALL_REDUCE, uncharged_pieces
from workshop_utils.memory.vllm.piece import Piece
from workshop_utils.memory.vllm.releases import constants, find_release
from workshop_utils.memory.vllm.report import figures, sentences
from workshop_utils.memory.vllm.settings import settle
from workshop_utils.memory.vllm.weights import Storage
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture

ATTENTION = ("flash_attention",)
CACHES = ("paged",)
OPTIONS = (
    "expert_parallel", "engine_version", "gpu_memory_utilization", "max_num_batched_tokens", "max_num_seqs",
)  # fmt: skip
SOURCE = "vllm/v1/worker/gpu_worker.py, determine_available_memory; vllm/v1/core/kv_cache_utils.py"
# What one tensor rank holds of each part, over all its layers, times the bytes of a value.
ROWS, WIDTHS = "rows of the padded vocabulary / ranks × hidden", "this rank's width × hidden"
WEIGHTS = {
    "embedding": ROWS,
    "head": ROWS,
    "norms": "hidden × norms, whole on every rank",
    "attention": "matrices of this rank's heads, Q, K and V in one; what heads share is whole",
    "mlp": f"gate and up in one matrix, and down: {WIDTHS}",
    "experts": f"all routed experts, gate and up in one matrix, and down: {WIDTHS}",
    "shared_experts": f"gate and up in one matrix, and down: {WIDTHS}",
    "router": "hidden × experts, whole on every rank",
    "vision": "the image tower's matrices / ranks, all else of it whole",
    "other": "what a model that was built has beside these parts",
    "rotary tables": "positions × rotary size, cosines and sines, for each base",
    "block ends": "what the weights leave unused of blocks in which the rotary tables were made",
}
WEIGHTS_SOURCE = "vllm/model_executor/layers, linear.py, vocab_parallel_embedding.py and rotary_embedding"
# Precisions that vLLM keeps a cache in.
CACHE_PRECISIONS = ("bfloat16", "float16", "float32", "fp8")


def assess(architecture: Architecture, workload: Workload, gpu: Gpu | None) -> Assessment:
    """Return what every rank holds. Raises WorkshopError without a GPU and for what vLLM does not load."""
    if gpu is None:
        raise WorkshopError("vLLM fills the GPU that it gets; name one with --gpu, for example H100-80GB.")
    check_experts(architecture, workload)
    budget = budget_of(architecture, workload, gpu)
    ranks: list[tuple[Term, ...]] = []
    for engine in range(workload.data_parallel):
        # Without experts in common all replicas are the first one again.
        own = budget_of(architecture, workload, gpu, engine) if workload.expert_parallel else budget
        stages = [stage_terms(number, own, workload, gpu) for number in range(len(own.stages))]
        ranks += [stages[number] for number in own.ranks]
    return Assessment(
        ranks=tuple(GpuEstimate(rank, terms) for rank, terms in enumerate(ranks)),
        notes=(*sentences(budget, workload.replica_batch), *apart(architecture, workload)),
        figures=dict(figures(budget)),
    )


def apart(architecture: Architecture, workload: Workload) -> Iterator[str]:
    """Yield what one server would do with the experts that replicas here hold each for itself."""
    if workload.data_parallel > 1 and not workload.expert_parallel and most_ranks(architecture):
        yield (
            f"{workload.data_parallel} replicas are servers of their own here. One server with "
            "--data-parallel-size and without --enable-expert-parallel would cut every expert over all its "
            "ranks (FusedMoEParallelConfig.make, vLLM 0.26)."
        )


def budget_of(architecture: Architecture, workload: Workload, gpu: Gpu, engine: int = 0) -> Budget:
    """Return what vLLM does with the memory of each rank of an engine; the first has the most experts."""
    if architecture.encoder:
        raise WorkshopError(
            f"vLLM runs no model with an encoder beside its decoder, such as {architecture.name}; choose the "
            "engine transformers."
        )
    if workload.kv_dtype not in CACHE_PRECISIONS:
        raise WorkshopError(
            f"vLLM keeps no KV cache in {workload.kv_dtype}; choose one of {', '.join(CACHE_PRECISIONS)}."
        )
    settings = settle(
        architecture,
        find_release(workload.engine_version),
        gpu,
        length=workload.tokens,
        tensor_parallel=workload.tensor_parallel,
        pipeline_parallel=workload.pipeline_parallel,
        utilization=workload.gpu_memory_utilization,
        batched_tokens=workload.max_num_batched_tokens,
        sequences=workload.max_num_seqs,
        cache_value_bits=KV_BITS[workload.kv_dtype],
        value_bytes=4 if workload.dtype == "float32" else 2,
        expert_parallel=workload.expert_parallel,
        data_parallel=workload.data_parallel,
    )
    return plan(architecture, settings, storage_of(find_precision(workload.dtype)), engine)


@lru_cache(maxsize=64)
def storage_of(precision: Precision) -> Storage:
    """Return how vLLM stores matrices in this precision."""

    def bits(part: str) -> float:
        return precision.bits if precision.parts and part in precision.parts else precision.rest_bits

    return Storage(
        bits, 16 if precision.parts else precision.rest_bits, row_scales=precision.name.startswith("fp8")
    )


def stage_terms(number: int, budget: Budget, workload: Workload, gpu: Gpu) -> tuple[Term, ...]:
    """Return the terms of one rank of a stage."""
    stage = budget.stages[number]
    certainty = certainty_of(budget, gpu)
    weights = (
        Term(f"weights: {part.replace('_', ' ')}", "weights", size, formula, WEIGHTS_SOURCE, "exact")
        for part, size in stage.weights.items()
        for formula in (weights_formula(part, stage),)
    )
    work = (
        Term(f"start-up: {piece.name}", "activations", piece.bytes, piece.formula, SOURCE, certainty)
        for piece in stage.activations
    )
    return (
        *weights,
        *cache_terms(number, budget, workload.replica_batch),
        *work,
        *beside(stage, certainty),
        *(outside_term(piece, "inside its share", certainty) for piece in stage.non_torch),
        *(
            outside_term(piece, "on top of its share", certainty)
            for piece in uncharged_pieces(budget.pool.settings)
        ),
    )


def weights_formula(part: str, stage: StageBudget) -> str:
    """Return what a rank holds of a part, in words."""
    spread = stage.stage.spread
    if spread is None or part != "experts":
        return WEIGHTS[part]
    held = {spread.held(layer.experts) for layer in stage.stage.layers if layer.experts}
    counts = " or ".join(str(count) for count in sorted(held))
    return f"{counts} routed experts a layer, whole, gate and up in one matrix, and down: width × hidden"


def outside_term(piece: Piece, where: str, certainty: Certainty) -> Term:
    """Return what lies outside torch's allocator as a term; FlashInfer's buffers were never logged alone."""
    sure: Certainty = "assumed" if piece.name == ALL_REDUCE else certainty
    return Term(piece.name, "process", piece.bytes, f"{piece.formula}; {where}", fitted_source(), sure)


def fitted_source() -> str:
    """Return where the fitted figures come from."""
    return str(constants()["fitted"]["source"])


def cache_terms(number: int, budget: Budget, batch: int) -> Iterator[Term]:
    """Yield the blocks that the requests take, and those that wait for more."""
    pool = budget.pool
    size = pool.block_bytes[number]
    length = pool.settings.length
    at_once = min(batch, int(pool.concurrency(length)), pool.settings.sequences) if pool.blocks else 0
    taken = at_once * pool.request_blocks(length)
    request = f"{at_once:,} requests × {pool.request_blocks(length):,} blocks"
    rest = f"{pool.blocks - taken:,} blocks left of the share"
    rows = (
        ("KV cache: blocks of the requests", taken, request),
        ("KV cache: blocks left free", pool.blocks - taken, rest),
    )
    for name, blocks, formula in rows:
        if blocks > 0:
            yield Term(name, "kv_cache", blocks * size, f"{formula} × {size:,} bytes", SOURCE, "exact")


def beside(stage: StageBudget, certainty: Certainty) -> Iterator[Term]:
    """Yield what vLLM keeps beside weights, cache and activations."""
    where = "mostly inside its share" if stage.graphs_counted_bytes else "on top of its share"
    formula = f"outputs of attention's parts, a share for each layer and size, and a fitted rest; {where}"
    yield Term("CUDA graphs", "reserve", stage.graph_bytes, formula, fitted_source(), certainty)
    if stage.runner_state_bytes:
        formula = "counts and bits for penalties, for each sequence and entry of the vocabulary"
        yield Term("sampler's state", "reserve", stage.runner_state_bytes, formula, SOURCE, "exact")


def certainty_of(budget: Budget, gpu: Gpu) -> Certainty:
    """Return measured on a GPU and a version that the fitted figures come from, else assumed.

    No recorded start spread experts.
    """
    fitted = constants()["fitted"]
    version = releases.number(budget.pool.settings.release.version)
    same = gpu.name in fitted["gpus"] and version in map(releases.number, fitted["versions"])
    return "measured" if same and not budget.pool.settings.expert_parallel else "assumed"
