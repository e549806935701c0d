"""The exercises of notebook 03. Every figure comes from an architecture, none is typed."""

from workshop_utils.lessons.checks import Exercise, Mistake
from workshop_utils.lessons.exercises_memory import cache_by_hand
from workshop_utils.lessons.one_gpu import step_bytes
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

BYTES = 2  # of a bfloat16 value
STEP_MODEL, STEP_TOKENS, STEP_BATCH = "llama-3.1-8b", 16_384, 8
RATE_MODEL, RATE_TOKENS_PER_S = "mistral-small-24b", 100


def _weights(with_table: bool = False) -> float:
    """Count by hand what a step reads of the weights; the embedding is a table, looked up row by row."""
    shape = find_architecture(STEP_MODEL)
    table = shape.vocabulary_size * shape.hidden_size * BYTES
    return count_parameters(shape).total * BYTES - (0 if with_table else table)


def _cache(*, per_query_head: bool = False) -> int:
    return cache_by_hand(find_architecture(STEP_MODEL), STEP_TOKENS, per_query_head=per_query_head)


def _engine() -> float:
    shape = find_architecture(STEP_MODEL)
    return step_bytes(shape) + kv_cache_bytes(shape, STEP_TOKENS, STEP_BATCH, "bfloat16")


STEP_BYTES = Exercise(
    key="step_bytes",
    engine_bytes=_engine,
    solution_bytes=lambda: _weights() + STEP_BATCH * _cache(),
    mistakes=(
        Mistake(
            "forgot the KV cache",
            _weights,
            "These are the weights alone. Every step also reads the KV cache of every conversation.",
        ),
        Mistake(
            "read the weights once a conversation",
            lambda: STEP_BATCH * (_weights() + _cache()),
            "This reads the weights once for each conversation. A batch shares them: that is why it pays.",
        ),
        Mistake(
            "counted one conversation",
            lambda: _weights() + _cache(),
            "This is the cache of one conversation; the batch has eight.",
        ),
        Mistake(
            "counted the embedding",
            lambda: _weights(with_table=True) + STEP_BATCH * _cache(),
            "This reads the whole embedding. A step needs one row of it for each conversation.",
        ),
        Mistake(
            "ignored GQA",
            lambda: _weights() + STEP_BATCH * _cache(per_query_head=True),
            "This counts a cache for every query head. Only the KV heads are cached.",
        ),
    ),
    hint="(Parameters − embedding) × 2 bytes, once, plus 8 caches of 2 × 32 layers × KV heads × head size × "
    "tokens × 2 bytes.",
    explanation="The caches weigh more than the weights here, so a larger batch gains less and less.",
)


def _rate_weights(*, with_table: bool = False) -> float:
    shape = find_architecture(RATE_MODEL)
    table = 0 if with_table else shape.vocabulary_size * shape.hidden_size
    return (count_parameters(shape).total - table) * BYTES


BANDWIDTH = Exercise(
    key="bandwidth",
    engine_bytes=lambda: step_bytes(find_architecture(RATE_MODEL)) * RATE_TOKENS_PER_S,
    solution_bytes=lambda: _rate_weights() * RATE_TOKENS_PER_S,
    mistakes=(
        Mistake(
            "counted the embedding",
            lambda: _rate_weights(with_table=True) * RATE_TOKENS_PER_S,
            "This reads the whole embedding for each token. A step needs one row of it.",
        ),
        Mistake(
            "parameters for bytes",
            lambda: _rate_weights() / BYTES * RATE_TOKENS_PER_S,
            "Half of it: a bfloat16 parameter has 2 bytes.",
        ),
        Mistake(
            "one token",
            _rate_weights,
            f"This is read for one token; you want {RATE_TOKENS_PER_S} of them in a second.",
        ),
    ),
    hint="(Parameters − embedding) × 2 bytes for each token, times the tokens a second, over 10⁹.",
    explanation="An H100 has 3,350 GB/s: no engine reaches 100 tokens/s of this model on one. Two could.",
)
