"""The exercises of notebook 06. Every figure comes from an architecture, none is typed."""

from workshop_utils.lessons.checks import Exercise, Mistake
from workshop_utils.lessons.exercises_memory import cache_by_hand
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.parallel.tensor import bytes_sent

BYTES = 2  # of a bfloat16 value
SENT_MODEL, SENT_TOKENS, SENT_RANKS = "llama-3.1-8b", 32_768, 4
SHARE_MODEL, SHARE_TOKENS, SHARE_BATCH, SHARE_RANKS = "llama-3.1-70b", 32_768, 16, 16


def sent_by_hand(*, per_layer: int = 2, factor: float = 2 * (SENT_RANKS - 1) / SENT_RANKS) -> float:
    """Count what a rank sends in a prefill; the options are the mistakes a reader makes."""
    shape = find_architecture(SENT_MODEL)
    return per_layer * len(shape.layers) * SENT_TOKENS * shape.hidden_size * BYTES * factor


def _sent_engine() -> float:
    shape = find_architecture(SENT_MODEL)
    return bytes_sent(SENT_TOKENS, shape.hidden_size, len(shape.layers), BYTES, SENT_RANKS)


BYTES_SENT = Exercise(
    key="bytes_sent",
    engine_bytes=_sent_engine,
    solution_bytes=sent_by_hand,
    mistakes=(
        Mistake(
            "one all-reduce a layer",
            lambda: sent_by_hand(per_layer=1),
            "Half of it: a layer sums twice, once behind the attention and once behind the MLP.",
        ),
        Mistake(
            "forgot the ring's factor",
            lambda: sent_by_hand(factor=1),
            "This sends each tensor once. In a ring of 4 a rank sends 2 × 3/4 of it.",
        ),
        Mistake(
            "all ranks together",
            lambda: SENT_RANKS * sent_by_hand(),
            "This is what all four ranks send together. Asked for is one rank.",
        ),
        Mistake(
            "one token",
            lambda: sent_by_hand() / SENT_TOKENS,
            "This is one token, as in decoding. A prefill sums the hidden states of all tokens.",
        ),
    ),
    hint="2 all-reduces × layers × tokens × hidden size × 2 bytes × 2 × (4 − 1) / 4, over 10⁹.",
    explanation="At NVLink's speed that takes a fraction of a second, at 10 GB/s (a network) seconds.",
)


def _share_engine() -> float:
    found: Estimate = estimate(
        find_architecture(SHARE_MODEL), tokens=SHARE_TOKENS, batch=SHARE_BATCH, tensor_parallel=SHARE_RANKS
    )
    return found.per_gpu[0].bytes_of("weights") + found.per_gpu[0].bytes_of("kv_cache")


def share_by_hand(*, weight_ranks: int = SHARE_RANKS, cache_ranks: int | None = None) -> float:
    """Count weights and cache of one rank; the options are the mistakes a reader makes."""
    shape = find_architecture(SHARE_MODEL)
    kv_heads = getattr(shape.layers[0].attention, "kv_heads", 1)
    cache = cache_by_hand(shape, SHARE_TOKENS) * SHARE_BATCH
    return count_parameters(shape).total * BYTES / weight_ranks + cache / (cache_ranks or kv_heads)


SHARE = Exercise(
    key="share",
    engine_bytes=_share_engine,
    solution_bytes=share_by_hand,
    mistakes=(
        Mistake(
            "divided the KV heads by the TP size",
            lambda: share_by_hand(cache_ranks=SHARE_RANKS),
            "This divides 8 KV heads by 16 ranks. A head is not cut: two ranks hold a copy of each.",
        ),
        Mistake(
            "whole cache on each rank",
            lambda: share_by_hand(cache_ranks=1),
            "This keeps the whole KV cache on each rank. Tensor parallelism splits it, too, by KV heads.",
        ),
        Mistake(
            "whole weights on each rank",
            lambda: share_by_hand(weight_ranks=1),
            "This keeps all weights on each rank: that is data parallelism.",
        ),
        Mistake(
            "half as many ranks",
            lambda: share_by_hand(weight_ranks=8),
            "This divides the weights by the 8 KV heads. Weights are cut over all 16 ranks.",
        ),
    ),
    hint="Parameters × 2 bytes / 16, plus the KV cache of all conversations / 8: a rank holds at least one "
    "KV head.",
    explanation="Beyond as many ranks as KV heads the cache of a rank no longer shrinks.",
)
