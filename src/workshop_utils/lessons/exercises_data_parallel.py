"""The exercises of notebook 04: memory of all copies together, and the time that a queue of prompts takes."""

from workshop_utils.lessons.checks import Exercise, Mistake
from workshop_utils.lessons.exercises_memory import cache_by_hand
from workshop_utils.lessons.number_checks import NumberExercise, Slip
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

BYTES = 2  # of a bfloat16 value
MODEL, TOKENS, CONVERSATIONS, COPIES = "llama-3.1-8b", 8_192, 24, 3
# Recorded: one replica, and two together (notebooks/recorded/two_h100_references.json; a test compares).
ONE_TOKENS_PER_S, TWO_TOKENS_PER_S = 1290, 2554
PROMPTS, ANSWER_TOKENS, REPLICAS = 9_600, 200, 4


def _weights() -> float:
    return count_parameters(find_architecture(MODEL)).total * BYTES


def _caches(*, per_query_head: bool = False, parts: int = 2) -> float:
    """Return the cache of all conversations, by hand; the options are the mistakes a reader makes."""
    shape = find_architecture(MODEL)
    return cache_by_hand(shape, TOKENS, parts=parts, per_query_head=per_query_head) * CONVERSATIONS


def _all_replicas() -> float:
    one = estimate(find_architecture(MODEL), tokens=TOKENS, batch=CONVERSATIONS // COPIES)
    return COPIES * (one.weights_bytes + one.kv_cache_bytes)


ALL_COPIES = Exercise(
    key="all_copies",
    engine_bytes=_all_replicas,
    solution_bytes=lambda: COPIES * _weights() + _caches(),
    mistakes=(
        Mistake(
            "forgot that weights are copied",
            lambda: _weights() + _caches(),
            "This counts the weights once. Each of the three GPUs holds a copy of all of them.",
        ),
        Mistake(
            "copied the KV cache too",
            lambda: COPIES * (_weights() + _caches()),
            "This keeps every conversation on every GPU. A replica caches its own eight conversations only.",
        ),
        Mistake(
            "divided the KV cache by the DP size",
            lambda: COPIES * _weights() + _caches() / COPIES,
            "This divides the caches once too often. Each GPU has a third of them; all three have all.",
        ),
        Mistake(
            "one GPU",
            lambda: _weights() + _caches() / COPIES,
            "This is one GPU. Asked for are all three together.",
        ),
        Mistake(
            "forgot V",
            lambda: COPIES * _weights() + _caches(parts=1),
            "The caches are half of what they should be: every layer keeps K and V.",
        ),
        Mistake(
            "ignored GQA",
            lambda: COPIES * _weights() + _caches(per_query_head=True),
            "The caches are too large: only the KV heads are cached, not every query head.",
        ),
    ),
    hint="Weights of the whole model on each GPU, plus the cache of every conversation once.",
    explanation="Data parallelism pays for its speed in copies of the weights.",
)


def _seconds(
    replicas: float = REPLICAS, *, rate: float = ONE_TOKENS_PER_S, tokens: int = ANSWER_TOKENS
) -> float:
    return PROMPTS * tokens / (replicas * rate)


QUEUE_SECONDS = NumberExercise(
    key="queue_seconds",
    unit="seconds",
    engine=lambda: PROMPTS / REPLICAS * ANSWER_TOKENS / ONE_TOKENS_PER_S,
    solution=_seconds,
    slips=(
        Slip("one replica", lambda: _seconds(1), "This is one replica alone. Four share the prompts."),
        Slip(
            "two replicas",
            lambda: _seconds(1, rate=TWO_TOKENS_PER_S),
            "This is the time of two replicas. Four share the prompts.",
        ),
        Slip(
            "took two for one",
            lambda: _seconds(rate=TWO_TOKENS_PER_S),
            f"{TWO_TOKENS_PER_S:,} tokens/s are those of two replicas; one makes {ONE_TOKENS_PER_S:,}.",
        ),
        Slip(
            "one token an answer",
            lambda: _seconds(tokens=1),
            f"This counts one token an answer; each has {ANSWER_TOKENS}.",
        ),
        Slip(
            "minutes",
            lambda: _seconds() / 60,
            "This is right in minutes. Write it in seconds.",
        ),
        Slip(
            "divided by four twice",
            lambda: _seconds(REPLICAS**2),
            "This divides by four twice: either each replica has a quarter of the prompts, or all four "
            "together are four times as fast.",
        ),
    ),
    hint="All new tokens, over what four replicas make in a second.",
    explanation="It assumes that all four are busy to the end: take small bites of the queue.",
)
