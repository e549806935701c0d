"""Notebook 05: a model in stages, and when each stage of a real run worked on which micro-batch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.figures.picture import Picture
from workshop_utils.figures.timeline import Schedule, Turn, timeline_figure
from workshop_utils.lessons.replicas import hardware_here
from workshop_utils.lessons.script_view import script
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.tier import device_of_ranks
from workshop_utils.lessons.two_h100 import TTFT_MS, note_of, one, select
from workshop_utils.measure.measurement import Measurement
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import layer_pieces
from workshop_utils.parallel.launch.launcher import launch
from workshop_utils.parallel.pipeline import bubble
from workshop_utils.units import GB, format_gb

STAGES, PROMPT_TOKENS, NEW_TOKENS = 2, 48, 7
MILLISECONDS = "ms"
LARGE = "mistral-small-24b"


@dataclass(frozen=True, slots=True)
class StagesRun:
    """One run of ``stages.py``: what each stage handed back, the first stage first."""

    sequences: int
    micro_batches: int
    stages: tuple[dict[str, Any], ...]

    def turns(self, phase: str) -> tuple[Turn, ...]:
        """Return all turns of ``prefill`` or ``decode``, in milliseconds of the system's clock."""
        return tuple(
            Turn(number, row["micro_batch"], 1000 * row["began"], 1000 * row["ended"])
            for number, stage in enumerate(self.stages)
            for row in stage["turns"]
            if row["phase"] == phase
        )

    def turn_ms(self, phase: str, stage: int) -> float:
        """Return how long a turn of this stage takes on average."""
        found = [turn.ended - turn.began for turn in self.turns(phase) if turn.stage == stage]
        return sum(found) / len(found)

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens of all sequences a second; the last stage makes them."""
        return float(self.sequences * (NEW_TOKENS - 1) / self.stages[-1]["decode_seconds"])


def layer_and_head_bytes(shape: Architecture, value_bytes: int = 2) -> tuple[list[int], int]:
    """Return the weights of each layer, and what the head reads for a token, in bytes."""
    layers = [
        sum(piece.matrices + piece.others for piece in layer_pieces(layer, shape.hidden_size))
        for layer in shape.layers
    ]
    head = shape.vocabulary_size * shape.hidden_size
    return [value_bytes * count for count in layers], value_bytes * head


def run_stages(*runs: tuple[int, int]) -> tuple[StagesRun, ...]:
    """Run ``stages.py`` on two ranks for each (sequences, micro-batches); WorkshopError where it fails."""
    arguments = json.dumps([STAGES, PROMPT_TOKENS, NEW_TOKENS, runs])
    result = launch(script("stages.py").path, [arguments], STAGES, device=device_of_ranks())
    if not result.finished:
        raise WorkshopError(result.message)
    found = []
    for sequences, micro_batches in runs:
        rows = [
            row
            for row in result.measurements
            if (row["sequences"], row["micro_batches"]) == (sequences, micro_batches)
        ]
        found.append(StagesRun(sequences, micro_batches, tuple(sorted(rows, key=lambda row: row["stage"]))))
    return tuple(found)


def schedule_of(turn_lengths: Sequence[float], micro_batches: int) -> tuple[Turn, ...]:
    """Return when each stage works if nothing else costs time; ``turn_lengths``: one a stage.

    A turn begins when the stage before has handed on the micro-batch, and this one is done with the last.
    """
    ended: dict[tuple[int, int], float] = {}
    turns = []
    for micro_batch in range(micro_batches):
        for stage, length in enumerate(turn_lengths):
            began = max(ended.get((stage - 1, micro_batch), 0.0), ended.get((stage, micro_batch - 1), 0.0))
            ended[stage, micro_batch] = began + length
            turns.append(Turn(stage, micro_batch, began, began + length))
    return tuple(turns)


def ideal_schedule(stages: int, micro_batches: int) -> Schedule:
    """Return the schedule of equal stages; a turn lasts 1 / micro-batches of that of the whole batch."""
    turns = schedule_of([1 / micro_batches] * stages, micro_batches)
    return Schedule(f"{in_words(micro_batches)}, ideal", turns, "turns of a whole batch")


def measured_schedule(run: StagesRun) -> Schedule:
    """Return the prefill of a run as it was."""
    return Schedule(f"{in_words(run.micro_batches)}, measured", run.turns("prefill"), MILLISECONDS)


def in_words(micro_batches: int) -> str:
    return f"{micro_batches} micro-batch{'es' if micro_batches > 1 else ''}"


def in_milliseconds(length: float) -> str:
    """Return a turn's length; of a GPU's short ones a tenth matters."""
    return f"{length:.0f}" if length >= 10 else f"{length:.1f}"


def ideal_figure(stages: int, *micro_batches: int) -> Picture:
    """Draw the ideal schedules of one batch in so many micro-batches."""
    rows = [[ideal_schedule(stages, count)] for count in micro_batches]
    return timeline_figure(
        rows, title="One batch through two stages", note="grey: nothing to do; numbers: micro-batches"
    )


def prefill_figure(runs: Sequence[StagesRun]) -> Picture:
    """Draw the ideal and the measured prefill of each run, side by side."""
    rows = [[ideal_schedule(STAGES, run.micro_batches), measured_schedule(run)] for run in runs]
    note = f"grey: nothing to do; measured here on {hardware_here(device_of_ranks())}"
    return timeline_figure(rows, title=f"Prefill of {runs[0].sequences} prompts in two stages", note=note)


def measured_bubble(run: StagesRun) -> float:
    """Return the share of the prefill in which a stage had nothing to do."""
    return measured_schedule(run).idle_share


def bubble_table(runs: Sequence[StagesRun]) -> Table:
    """Return the bubble by the formula, with the stages' real turns, and as measured."""
    rows = []
    for run in runs:
        lengths = [run.turn_ms("prefill", stage) for stage in range(STAGES)]
        uneven = Schedule("", schedule_of(lengths, run.micro_batches), MILLISECONDS).idle_share
        rows.append(
            (
                f"{run.micro_batches}",
                f"{bubble(STAGES, run.micro_batches):.0%}",
                " and ".join(map(in_milliseconds, lengths)),
                f"{uneven:.0%}",
                f"{measured_bubble(run):.0%}",
            )
        )
    headers = ("micro-batches", "formula", "a turn of each stage, ms", "with such turns", "measured")
    stages = " and ".join(
        f"{stage['layers']} layers ({format_gb(stage['weight_bytes'])})" for stage in runs[0].stages
    )
    return Table(headers, rows, f"Share of the prefill in which a stage idles. The stages hold {stages}.")


def decode_table(runs: Sequence[StagesRun]) -> Table:
    """Return how fast sequences were continued, and how long a turn of the stages took."""
    rows = []
    for run in runs:
        lengths = [run.turn_ms("decode", stage) for stage in range(STAGES)]
        rows.append(
            (
                f"{run.sequences}",
                f"{run.micro_batches}",
                f"{run.sequences / run.micro_batches:.0f}",
                " and ".join(map(in_milliseconds, lengths)),
                f"{run.decode_tokens_per_s:.0f}",
            )
        )
    headers = ("sequences", "micro-batches", "sequences in each", "a turn of each stage, ms", "tokens/s")
    return Table(headers, rows, f"Decoding, measured here on {hardware_here(device_of_ranks())}.")


def stage_memory_table(model: str, *stages: int, tokens: int, batch: int) -> Table:
    """Return what the fullest GPU holds of a model in so many stages, in bfloat16."""
    shape = find_architecture(model)
    rows = []
    for count in stages:
        gpus = estimate(shape, tokens=tokens, batch=batch, pipeline_parallel=count).per_gpu
        sizes = [(gpu.bytes_of("weights"), gpu.bytes_of("kv_cache")) for gpu in gpus]
        weights, cache = max(sizes, key=sum)
        rows.append((f"{count}", f"{weights / GB:.1f}", f"{cache / GB:.1f}", f"{(weights + cache) / GB:.1f}"))
    caption = f"GB (decimal) on the fullest GPU: {model}, {batch} conversations of {tokens:,} tokens."
    return Table(("stages", "weights", "KV cache", "together"), rows, caption)


def naive_split_table(runs: Sequence[Measurement]) -> Table:
    """Return a large model on one H100, and its layers split over two with ``device_map``, recorded."""
    rows = []
    for label, strategy in (("one GPU", "none"), ("layers split over two GPUs", "layers")):
        chosen: dict[str, Any] = {
            "model": LARGE, "engine": "transformers, eager", "strategy": strategy, "batch": 1, "tokens": 4096,
        }  # fmt: skip
        speed, first = one(runs, **chosen), one(runs, TTFT_MS, **chosen)
        rows.append((label, f"{first:.0f} ms", f"{1000 / speed:.1f} ms", f"{speed:.1f}"))
    shown = select(runs, model=LARGE, strategy="layers")
    headers = (f"{LARGE}, one conversation", "first token after", "each next token", "tokens/s")
    return Table(headers, rows, note_of(shown))


def naive_split_speed(runs: Sequence[Measurement]) -> float:
    """Return the tokens a second of the split model."""
    return one(runs, model=LARGE, strategy="layers")
