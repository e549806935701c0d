"""Notebooks 04 to 06: how a strategy is expected to scale to eight GPUs, beside every recorded run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.scaling_curve import Curve, scaling_figure
from workshop_utils.lessons.two_h100 import load_runs, note_of, select
from workshop_utils.measure.measurement import Measurement
from workshop_utils.planner.scaling import MOST_RECORDED, expected_scaling
from workshop_utils.planner.speed import Text

GPU, FILES = "H200", "*_h200_workshop.json"
# What each strategy was recorded with: model, prompts of each replica or stage, their tokens and new ones.
RECORDED: dict[str, tuple[tuple[str, Text], ...]] = {
    "tensor": (("llama-3.1-8b", Text(1, 128, 128)), ("mistral-small-24b", Text(1, 128, 128))),
    "data": (("llama-3.1-8b", Text(32, 512, 64)),),
    "pipeline": (("mistral-small-24b", Text(8, 512, 64)),),
}
TITLES = {
    "tensor": "Tensor parallelism: tokens/s of one prompt, against one GPU",
    "data": "Data parallelism: tokens/s of all prompts, 32 for each GPU, against one GPU with 32",
    "pipeline": "Pipeline: tokens/s with a micro-batch of 8 for each GPU, against one GPU with 8",
}


def scaling(strategy: str, folder: Path | str = "recorded") -> Picture:
    """Draw the expected speed of 1 to 8 H200s beside what was recorded."""
    runs = load_runs(folder, FILES)
    curves, shown = [], []
    for model, text in RECORDED[strategy]:
        found = dict(recorded(runs, strategy, model, text))
        shown += [run for run, _ in found.values()]
        alone = found[1][1]
        measured = [(size, speed / alone) for size, (_, speed) in sorted(found.items())]
        label = f"{model}, batch {text.batch}"
        curves.append(Curve(label, expected_scaling(strategy, model, text, GPU), measured))
    note = (
        f"Dashed: expected of one node with NVLink, in bfloat16, with its range; beyond {MOST_RECORDED} GPUs "
        f"assumed. Filled: {note_of(shown)}."
    )
    return scaling_figure(curves, title=TITLES[strategy], note=note)


def recorded(
    runs: Sequence[Measurement], strategy: str, model: str, text: Text
) -> Iterator[tuple[int, tuple[Measurement, float]]]:
    """Yield GPUs, run and tokens/s of what was recorded with these prompts, one GPU first."""
    settings: dict[str, Any] = {"model": model, "engine": "this workshop", "tokens": text.prompt}
    for run in select(runs, **settings):
        size = run.settings["ranks"]
        alone = size == 1 and run.settings["strategy"] == "none" and run.settings["batch"] == text.batch
        stages = size if strategy == "pipeline" else 1
        split = run.settings["strategy"] == strategy and run.settings["batch"] == text.batch * stages
        if strategy == "pipeline":
            split = split and run.settings["micro_batches"] == size
        if alone or (size > 1 and split and not run.settings["without"]):
            yield size, (run, run.values["tokens_per_s"].value)
