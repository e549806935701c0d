"""What a reader is told of a budget: the figures of the rank that limits, and sentences on what they mean."""

from collections.abc import Iterator

from workshop_utils.memory.vllm.budget import Budget
from workshop_utils.memory.vllm.non_torch import ALL_REDUCE
from workshop_utils.memory.vllm.releases import constants, number
from workshop_utils.units import format_gib


def figures(budget: Budget) -> dict[str, int | float]:
    """Return the figures that vLLM logs, of the rank that limits the pool; sizes in bytes."""
    limiting, pool = budget.limiting, budget.pool
    return {
        "kv_pool_bytes": limiting.available_bytes,
        "kv_cache_tokens": pool.tokens,
        "max_concurrency": pool.concurrency(pool.settings.length),
        "activation_bytes": limiting.activation_bytes,
        "non_torch_bytes": limiting.non_torch_bytes,
        "cuda_graph_bytes": limiting.graph_bytes,
    }


def sentences(budget: Budget, batch: int) -> tuple[str, ...]:
    """Return what a reader should know, the reason why vLLM would not start first."""
    return (
        *refusal(budget),
        *waiting(budget, batch),
        *beyond(budget),
        *experts_spread(budget),
        *tensor_ranks(budget),
        *newer(budget),
    )


def refusal(budget: Budget) -> Iterator[str]:
    """Yield the reason why vLLM refuses to start: no cache at all, or one smaller than one request."""
    pool, limiting = budget.pool, budget.limiting
    length = pool.settings.length
    if limiting.available_bytes <= 0 or not pool.blocks:
        taken = limiting.requested_bytes - limiting.available_bytes
        yield (
            f"vLLM would not start: weights and start-up take {format_gib(taken)} of a rank's "
            f"{format_gib(limiting.requested_bytes)}, which leaves no KV cache; take a larger "
            "gpu_memory_utilization, more tensor ranks or fewer bits."
        )
    elif pool.concurrency(length) < 1:
        size = pool.block_bytes[budget.stages.index(limiting)]
        yield (
            f"vLLM would not start: one request of {length:,} tokens needs "
            f"{format_gib(pool.request_blocks(length) * size)} of KV cache on a rank that has "
            f"{format_gib(limiting.available_bytes)}; the largest max_model_len is {pool.longest(length):,}."
        )


def waiting(budget: Budget, batch: int) -> Iterator[str]:
    """Yield how many of a batch run at a time where the pool does not hold all of it."""
    pool = budget.pool
    at_once = pool.concurrency(pool.settings.length)
    if 1 <= at_once < batch:
        yield (
            f"{int(at_once):,} of {batch:,} requests of {pool.settings.length:,} tokens run at a time; "
            "vLLM makes the others wait."
        )
    most = pool.settings.sequences
    if most < min(batch, int(at_once)):
        yield f"max_num_seqs {most:,} lets no more of the {batch:,} requests run at a time."


def beyond(budget: Budget) -> Iterator[str]:
    """Yield what this version takes on top of the share of the GPU that it was given."""
    limiting = budget.limiting
    extra = 0 if limiting.graphs_counted_bytes else limiting.graph_bytes
    extra += 0 if limiting.runner_state_counted else limiting.runner_state_bytes
    version = budget.pool.settings.release.version
    if extra:
        yield (
            f"vLLM {version} takes about {format_gib(extra)} more than its share "
            "of the GPU: CUDA graphs and what the sampler keeps are not in its budget."
        )


def experts_spread(budget: Budget) -> Iterator[str]:
    """Yield what expert parallelism means here."""
    settings, spread = budget.pool.settings, budget.limiting.stage.spread
    if spread is None:
        return
    if settings.engines == 1:
        yield (
            f"The experts stand whole on {spread.ranks} ranks: about the memory that cutting each would "
            "take. Read in vLLM 0.26, not measured here."
        )
        return
    yield (
        f"{settings.engines} engines run in step: each has attention, and a cache for its own requests, on "
        f"{settings.tensor_parallel} of {spread.ranks} ranks, and all share the experts. The rank that "
        "limits is the first engine's. Read in vLLM 0.26, not measured here."
    )


def tensor_ranks(budget: Budget) -> Iterator[str]:
    """Yield on what the memory outside torch rests where matrices are cut."""
    settings = budget.pool.settings
    if settings.tensor_parallel == 1:
        return
    size = format_gib(budget.limiting.non_torch_bytes)
    if settings.release.all_reduce_rest_mib:
        yield (
            f"The {size} outside torch with tensor ranks rest on start-up logs of vLLM 0.19 on H100; "
            "FlashInfer's buffers explain three quarters of them."
        )
        return
    buffers = sum(piece.bytes for piece in budget.limiting.non_torch if piece.name == ALL_REDUCE)
    yield (
        f"The {size} outside torch with tensor ranks rest on starts of vLLM 0.26 on two H200s without "
        f"FlashInfer and NVLink multicast, and {format_gib(buffers)} of FlashInfer's buffers on its source; "
        "vLLM 0.19 logged 2.1 GiB."
    )


def newer(budget: Budget) -> Iterator[str]:
    """Yield that the rules are those of an older version."""
    version, newest = budget.pool.settings.release.version, constants()["newest"]
    if number(version) > number(newest):
        yield f"The rules of vLLM {newest} are taken for {version}, whose source was not read."
