"""The exercises of notebook 05: the bubble, and the KV cache of a stage."""

from workshop_utils.lessons.checks import Exercise, Mistake
from workshop_utils.lessons.exercises_memory import cache_by_hand
from workshop_utils.lessons.number_checks import NumberExercise, Slip
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.pipeline import bubble

STAGES, MICRO_BATCHES = 4, 8
CACHE_MODEL, CACHE_TOKENS, CACHE_BATCH, CACHE_STAGES = "llama-3.1-8b", 32_768, 8, 2


def _percent(idle: float, of: float) -> float:
    return 100 * idle / of


BUBBLE = NumberExercise(
    key="bubble",
    unit="%",
    engine=lambda: 100 * bubble(STAGES, MICRO_BATCHES),
    solution=lambda: _percent(STAGES - 1, MICRO_BATCHES + STAGES - 1),
    slips=(
        Slip(
            "counted the bubble with M stages",
            lambda: _percent(MICRO_BATCHES - 1, STAGES + MICRO_BATCHES - 1),
            "This swaps stages and micro-batches: a stage waits for the S − 1 others, not for M − 1.",
        ),
        Slip(
            "forgot the filling in the total",
            lambda: _percent(STAGES - 1, MICRO_BATCHES),
            "This divides by M turns. The whole takes longer: M turns, and S − 1 to fill or drain.",
        ),
        Slip(
            "one stage too many",
            lambda: _percent(STAGES, MICRO_BATCHES + STAGES),
            "A stage waits for the others only: S − 1 turns.",
        ),
        Slip(
            "idle turns of S over M + S − 1",
            lambda: _percent(STAGES, MICRO_BATCHES + STAGES - 1),
            "The total is right. But a stage idles for S − 1 turns.",
        ),
        Slip(
            "the busy share",
            lambda: _percent(MICRO_BATCHES, MICRO_BATCHES + STAGES - 1),
            "This is the share in which a stage works. The bubble is the rest.",
        ),
        Slip(
            "no micro-batches",
            lambda: _percent(STAGES - 1, STAGES),
            "This is the bubble of one batch that is not split.",
        ),
        Slip(
            "a fraction for percent",
            lambda: bubble(STAGES, MICRO_BATCHES),
            "Right as a fraction. Write it in percent.",
        ),
    ),
    hint="Of M + S − 1 turns, a stage has nothing to do in S − 1.",
    explanation="Twice as many micro-batches as stages still leave more than a quarter of the time idle.",
)


def _cache(**mistake: int | bool) -> float:
    shape = find_architecture(CACHE_MODEL)
    return cache_by_hand(shape, CACHE_TOKENS, **mistake) * CACHE_BATCH  # type: ignore[arg-type]


def _stage_cache() -> float:
    shape = find_architecture(CACHE_MODEL)
    found = estimate(shape, tokens=CACHE_TOKENS, batch=CACHE_BATCH, pipeline_parallel=CACHE_STAGES)
    return found.per_gpu[0].bytes_of("kv_cache")


STAGE_CACHE = Exercise(
    key="stage_cache",
    engine_bytes=_stage_cache,
    solution_bytes=lambda: _cache() / CACHE_STAGES,
    mistakes=(
        Mistake(
            "whole cache on each stage",
            _cache,
            "This keeps the cache of all layers. A stage caches K and V of its own layers only.",
        ),
        Mistake(
            "counted one conversation",
            lambda: _cache() / CACHE_STAGES / CACHE_BATCH,
            "This is one conversation; a stage caches all eight.",
        ),
        Mistake(
            "forgot V",
            lambda: _cache(parts=1) / CACHE_STAGES,
            "Half of it: every layer keeps K and V. (Or did you halve twice? A stage has half of the layers, "
            "but sees every conversation.)",
        ),
        Mistake(
            "ignored GQA",
            lambda: _cache(per_query_head=True) / CACHE_STAGES,
            "This counts every query head. Only the KV heads are cached.",
        ),
    ),
    hint="The cache of 8 conversations in the layers of one stage: 16 of 32.",
    explanation="Unlike a replica, a stage sees every conversation, but caches only its own layers.",
)
