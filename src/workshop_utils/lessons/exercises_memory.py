"""The exercises of notebook 01. Every figure comes from an architecture, none is typed."""

from collections.abc import Callable

from workshop_utils.lessons.checks import Exercise, Mistake
from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.models.architecture import Architecture, Attention
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

BYTES = 2  # of a bfloat16 value
K_AND_V = 2

SLIDING_MODEL, SLIDING_TOKENS = "gemma-3-27b", 32_768
REPLICA_MODEL, REPLICA_TOKENS, REPLICA_BATCH, REPLICAS = "llama-3.1-8b", 16_384, 8, 3


def cache_by_hand(
    architecture: Architecture,
    tokens: int,
    *,
    parts: int = K_AND_V,
    per_query_head: bool = False,
    windows: bool = True,
) -> int:
    """Add up the cache layer by layer, as a reader would; the options are the mistakes a reader makes."""
    total = 0
    for layer in architecture.layers:
        attention = layer.attention
        assert isinstance(attention, Attention), "the exercises use models with plain KV heads"
        heads = attention.heads if per_query_head else attention.kv_heads
        seen = min(tokens, attention.window) if attention.window and windows else tokens
        total += parts * heads * attention.head_dim * seen * BYTES
    return total


def _sliding(**mistake: int | bool) -> Callable[[], float]:
    shape = find_architecture(SLIDING_MODEL)
    return lambda: cache_by_hand(shape, SLIDING_TOKENS, **mistake)  # type: ignore[arg-type]


def _slide_rule_cache() -> float:
    shape = find_architecture(SLIDING_MODEL)
    return K_AND_V * len(shape.layers) * shape.hidden_size * SLIDING_TOKENS * BYTES


KV_CACHE = Exercise(
    key="kv_cache",
    engine_bytes=lambda: kv_cache_bytes(find_architecture(SLIDING_MODEL), SLIDING_TOKENS, 1, "bfloat16"),
    solution_bytes=_sliding(),
    mistakes=(
        Mistake("forgot V", _sliding(parts=1), "Half of it: every layer keeps K and V. Did you forget V?"),
        Mistake(
            "ignored GQA",
            _sliding(per_query_head=True),
            "This counts every query head. With grouped-query attention (GQA) only the KV heads are cached.",
        ),
        Mistake(
            "whole context in a sliding layer",
            _sliding(windows=False),
            "This keeps the whole context in every layer. A sliding layer keeps only its window.",
        ),
        Mistake(
            "embedding width",
            _slide_rule_cache,
            "This is the slide's rule: the full embedding width in every layer. Use KV heads × head size, "
            "and the window in sliding layers.",
        ),
    ),
    hint="Sum over the layers: 2 (K and V) × KV heads × head size × tokens kept × 2 bytes, over 10⁹.",
    explanation="Nearly all of it lies in the few full layers.",
)  # fmt: skip


def _replica_parts() -> tuple[int, int]:
    """Return the weights and the cache of one replica's own conversations, by hand."""
    shape = find_architecture(REPLICA_MODEL)
    return count_parameters(shape).total * BYTES, cache_by_hand(shape, REPLICA_TOKENS) * REPLICA_BATCH


def _replica_engine() -> float:
    result = estimate(find_architecture(REPLICA_MODEL), tokens=REPLICA_TOKENS, batch=REPLICA_BATCH)
    return result.weights_bytes + result.kv_cache_bytes


def _replica_without_gqa() -> float:
    shape = find_architecture(REPLICA_MODEL)
    cache = cache_by_hand(shape, REPLICA_TOKENS, per_query_head=True) * REPLICA_BATCH
    return _replica_parts()[0] + cache


DATA_PARALLEL = Exercise(
    key="data_parallel",
    engine_bytes=_replica_engine,
    solution_bytes=lambda: sum(_replica_parts()),
    mistakes=(
        Mistake(
            "divided the KV cache by the DP size",
            lambda: _replica_parts()[0] + _replica_parts()[1] / REPLICAS,
            "This divides the KV cache by the number of GPUs. Data parallelism splits nothing inside a "
            "replica: each GPU keeps the whole cache of its own conversations.",
        ),
        Mistake(
            "divided the weights by the DP size",
            lambda: _replica_parts()[0] / REPLICAS + _replica_parts()[1],
            "This divides the weights by the number of GPUs. In data parallelism each GPU holds all.",
        ),
        Mistake(
            "divided everything by the DP size",
            lambda: sum(_replica_parts()) / REPLICAS,
            "This divides everything by the number of GPUs. In data parallelism each GPU holds all weights "
            "and the whole cache of its own conversations.",
        ),
        Mistake(
            "counted one conversation",
            lambda: _replica_parts()[0] + _replica_parts()[1] / REPLICA_BATCH,
            "This is the cache of one conversation; each GPU serves eight.",
        ),
        Mistake(
            "forgot V",
            lambda: _replica_parts()[0] + _replica_parts()[1] / K_AND_V,
            "The cache is half of what it should be: every layer keeps K and V.",
        ),
        Mistake(
            "ignored GQA",
            _replica_without_gqa,
            "The cache is too large: only the KV heads are cached, not every query head.",
        ),
    ),
    hint="Weights of the whole model plus the cache of the conversations that this GPU serves.",
    explanation="Three GPUs serve three times as many conversations, and each needs as much as one alone.",
)  # fmt: skip
