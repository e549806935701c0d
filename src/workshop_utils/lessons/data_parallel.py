"""Notebook 04's predictions, tables and figure."""

from collections.abc import Sequence
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.speedups import SpeedUp, speedups_figure
from workshop_utils.lessons.replica_model import NEW_TOKENS
from workshop_utils.lessons.replicas import ReplicasRun, hardware_here
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.two_h100 import TTFT_MS, note_of, one, select
from workshop_utils.measure.measurement import Measurement
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.launch.environment import cores_here
from workshop_utils.units import GB

SHOWN = 4
RECORDED_MODEL = "llama-3.1-8b"


def predicted_speedup(alone: ReplicasRun, replicas: int) -> float:
    """Return how many times as fast ``replicas`` replicas can be as the one that ran ``alone``.

    Each brings a GPU of its own, or on a CPU only the cores that one replica left idle.
    """
    if alone.device == "cuda":
        return float(replicas)
    return min(float(replicas), max(1.0, cores_here() / alone.cores_busy[0]))


def prediction(alone: ReplicasRun, replicas: int) -> str:
    """Return the prediction with its reason, in two sentences."""
    times = f"{replicas} replicas can be {predicted_speedup(alone, replicas):.2f} times as fast."
    if alone.device == "cuda":
        return f"Each replica has a GPU of its own. {times}"
    return f"One replica kept {alone.cores_busy[0]:.1f} of {cores_here()} cores busy. {times}"


def speedup_of(run: ReplicasRun, alone: ReplicasRun) -> float:
    """Return how many times as fast a run was as one replica."""
    return run.tokens_per_s / alone.tokens_per_s


def speedup_figure(alone: ReplicasRun, both: ReplicasRun, recorded: Sequence[Measurement]) -> Picture:
    """Draw the prediction and the measurement here, and what two H100s gained."""
    two: dict[str, Any] = {"model": RECORDED_MODEL, "engine": "transformers, eager", "batch": 32}
    gained = one(recorded, strategy="data", **two) / one(recorded, strategy="none", **two)
    bars = [
        SpeedUp("here: predicted", "predicted", predicted_speedup(alone, both.replicas)),
        SpeedUp("here: measured", "measured", speedup_of(both, alone)),
        SpeedUp("two H100s: recorded", "recorded", gained),
    ]
    note = f"here: {hardware_here(alone.device)}. {note_of(select(recorded, strategy='data'))}"
    return speedups_figure(bars, title="Two replicas", note=note)


def recorded_table(recorded: Sequence[Measurement]) -> Table:
    """Return one replica and two on two H100s: all prompts together, and the first token of each."""
    rows = []
    for label, strategy in (("one replica", "none"), ("two replicas", "data")):
        chosen: dict[str, Any] = {
            "model": RECORDED_MODEL, "engine": "transformers, eager", "strategy": strategy, "batch": 32,
        }  # fmt: skip
        speed, first = one(recorded, **chosen), one(recorded, TTFT_MS, **chosen)
        rows.append((label, f"{speed:,.0f}", f"{first:.0f} ms"))
    headers = (f"{RECORDED_MODEL}, 32 prompts a replica", "tokens/s of all prompts", "first token after")
    return Table(headers, rows, note_of(select(recorded, strategy="data")))


def answers_table(tokenizer: Any, run: ReplicasRun, questions: Sequence[str]) -> Table:
    """Return the first answers, and how many each replica gave."""
    texts = tokenizer.batch_decode(run.answered.answers, skip_special_tokens=True)
    rows = [(question, " ".join(text.split())) for question, text in zip(questions, texts, strict=True)]
    counts = ", ".join(f"replica {number}: {count}" for number, count in sorted(run.answered.by.items()))
    caption = f"The first {SHOWN} of {len(rows)}. Answered by {counts}."
    headers = ("question", f"answer, cut after {NEW_TOKENS} tokens")
    return Table(headers, rows[:SHOWN], caption, text_columns=2)


def replicas_table(runs: Sequence[ReplicasRun]) -> Table:
    """Return prompts, speed and failures of some runs."""
    rows = []
    for run in runs:
        failed = "; ".join(f"replica {n}: {reason}" for n, reason in sorted(run.answered.failures.items()))
        shares = " + ".join(str(count) for _, count in sorted(run.answered.by.items()))
        rows.append(
            (
                f"{run.replicas} replica{'s' if run.replicas > 1 else ''}",
                failed or "none",
                shares,
                f"{len(run.answered.answers)}",
                f"{run.answered.seconds:.1f} s",
                f"{run.tokens_per_s:.0f}",
            )
        )
    headers = ("run", "failures", "answered by each", "answers", "time", "tokens/s")
    return Table(headers, rows, f"measured here on {hardware_here(runs[0].device)}; loading left out", 2)


def replica_memory_table(model: str, replicas: Sequence[int], *, tokens: int, batch: int) -> Table:
    """Return what one GPU and all GPUs hold, weights and KV cache, in bfloat16."""
    alone = estimate(find_architecture(model), tokens=tokens, batch=batch)
    weights, cache = alone.weights_bytes / GB, alone.kv_cache_bytes / GB
    rows = [
        (
            f"{count}",
            f"{count * batch}",
            f"{weights:.1f} + {cache:.1f}",
            f"{count * weights:.1f} + {count * cache:.1f}",
        )
        for count in replicas
    ]
    headers = ("GPUs", "conversations at a time", "on each GPU", "on all together")
    return Table(headers, rows, f"GB (decimal), weights + KV cache of {model}, {tokens:,} tokens each.")
