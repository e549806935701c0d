"""Notebook 07: device maps of large models on two H100s, as far as they have been recorded."""

import re
from collections.abc import Sequence
from pathlib import Path

from workshop_utils.lessons.accelerate_maps import size_words
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.two_h100 import TOKENS_PER_S, note_of, select
from workshop_utils.measure.measurement import Measurement, load_measurements

REFERENCES, ACCELERATE = "two_h100_references.json", "accelerate_two_h100.json"
LARGE, EAGER = "mistral-small-24b", "transformers, eager"
WORDS = {"one": "one GPU", "split": "layers split over two GPUs", "fit": "as many GPUs as it needs"}
OF_STRATEGY = {"none": "one", "layers": "split"}
OFFLOADED = re.compile(r"(cpu|disk)(\d+)")
PLACES = {"cpu": "in host memory", "disk": "on the disk"}
MOVED = "moved_per_token"


def placement_of(run: Measurement) -> str:
    """Return the placement of a run: the bench's name, or that of the strategy of an older recording."""
    return str(run.settings.get("placement") or OF_STRATEGY[run.settings["strategy"]])


def placement_words(placement: str) -> str:
    """Return a placement of ``workshop bench accelerate`` in words: ``50 % of the layers in host memory``."""
    if found := OFFLOADED.fullmatch(placement):
        return f"{found[2]} % of the layers {PLACES[found[1]]}"
    return WORDS.get(placement, placement)


def load_placements(folder: Path | str = "recorded") -> tuple[Measurement, ...]:
    """Return the recorded device maps: a large model's of the first recordings, and the bench's if there."""
    references = load_measurements(Path(folder) / REFERENCES)
    first = [
        run for kind in OF_STRATEGY for run in select(references, model=LARGE, engine=EAGER, strategy=kind)
    ]
    file = Path(folder) / ACCELERATE
    return (*first, *(load_measurements(file) if file.exists() else ()))


def recorded_table(runs: Sequence[Measurement]) -> Table:
    """Return one row a run: where the weights are, what is fetched for a token, and the speed."""
    alone = {key_of(run): run.values[TOKENS_PER_S].value for run in runs if placement_of(run) == "one"}
    rows = []
    for run in runs:
        speed, one = run.values[TOKENS_PER_S].value, alone.get(key_of(run))
        moved = run.values[MOVED].value if MOVED in run.values else 0
        rows.append(
            (
                str(run.settings["model"]),
                placement_words(placement_of(run)),
                f"{run.settings['batch']} × {run.settings['tokens']:,}",
                size_words(moved) if moved and OFFLOADED.fullmatch(placement_of(run)) else "nothing",
                f"{speed:.3g}",
                f"{speed / one:.2g} ×" if one else "does not fit on one",
            )
        )
    recorded = any("placement" in run.settings for run in runs)
    missing = (
        ""
        if recorded
        else " Not recorded yet: offload to host memory and disk, and models that need both GPUs; "
        "`workshop bench accelerate` measures them on your machine."
    )
    headers = (
        "model",
        "where its weights are",
        "prompts × tokens",
        "fetched a token",
        "tokens/s",
        "against one GPU",
    )
    return Table(headers, rows, f"{note_of(runs)}.{missing}", text_columns=2)


def key_of(run: Measurement) -> tuple[object, ...]:
    """Return what must be alike for two runs to be compared; the first recordings were measured otherwise."""
    software = tuple(run.versions.get(name) for name in ("torch", "transformers"))
    alike = (run.settings.get(name) for name in ("model", "batch", "tokens", "dtype"))
    return (*alike, software, "placement" in run.settings)
