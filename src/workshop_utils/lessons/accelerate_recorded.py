"""Notebook 07: recorded device maps, two H200s predicted beside measured, and a split that two H100s ran."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from workshop_utils.lessons.accelerate_maps import size_words
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.two_h100 import TOKENS_PER_S, note_of, one, select
from workshop_utils.measure.measurement import Measurement, load_measurements
from workshop_utils.parallel.big_model.bench_accelerate_case import FIT, ONE, SPLIT
from workshop_utils.parallel.big_model.bench_accelerate_result import Prediction
from workshop_utils.parallel.big_model.recorded_runs import predict_again
from workshop_utils.parallel.big_model.speed import speeds
from workshop_utils.units import GB

REFERENCES, ACCELERATE = "two_h100_references.json", "accelerate_two_h200.json"
COLD_LOAD, WORKSHOP = "cold_load_one_h200.json", "two_h200_workshop.json"
LARGE, EAGER = "mistral-small-24b", "transformers, eager"
OF_STRATEGY = {"none": ONE, "layers": SPLIT}
WORDS = {ONE: "one GPU", SPLIT: "layers split over two GPUs"}
OFFLOADED = re.compile(r"(cpu|disk)(\d+)")
PLACES = {"cpu": "in host memory", "disk": "on the disk"}
TPOT, MOVED = "tpot", "moved_per_token"


def load_placements(folder: Path | str = "recorded") -> tuple[Measurement, ...]:
    """Return the recorded runs of ``workshop bench accelerate``: those with a run on one GPU first."""
    runs = load_measurements(Path(folder) / ACCELERATE)
    return tuple(sorted(runs, key=lambda run: run.settings["placement"] == FIT))


def placement_words(run: Measurement) -> str:
    """Return where a run's weights are: ``50 % of the layers in host memory``."""
    name = str(run.settings["placement"])
    if found := OFFLOADED.fullmatch(name):
        return f"{found[2]} % of the layers {PLACES[found[1]]}"
    if name == FIT:
        limits = " + ".join(f"{limit / GB:.0f}" for limit in run.settings["limits_bytes"].values())
        return f"map fitted to {limits} GB"
    return WORDS[name]


def placements_table(runs: Sequence[Measurement]) -> Table:
    """Return one row a run: what is fetched for a token; peaks and time, predicted beside measured.

    The predicted time is the recording's, made before the run.
    """
    alone = {key_of(run): run for run in runs if run.settings["placement"] == ONE}
    rows = []
    for run in runs:
        predicted, base = predict_again(run), alone.get(key_of(run))
        moved, took = run.values[MOVED].value, run.values[TPOT].value
        rows.append(
            (
                f"{run.settings['model']}, {run.settings['dtype']}",
                placement_words(run),
                f"{run.settings['batch']} × {run.settings['tokens']:,}",
                size_words(moved) if moved else "nothing",
                *peak_words(run, predicted),
                f"{run.values['predicted_tpot'].value:.0f}",
                f"{took:.0f}",
                f"{took / base.values[TPOT].value:.2g} ×" if base else "–",
            )
        )
    headers = (
        "model",
        "where its weights are",
        "prompts × tokens",
        "fetched a token",
        "GB at the peak, predicted",
        "GB, measured",
        "ms a token, predicted",
        "ms, measured",
        "time against one GPU",
    )
    first = speeds()["new_length_ms"]["in_fitted_maps_ms"]
    caption = (
        f"{note_of(runs)}; those of a lone H200 while the other GPU of its machine was at work. Each time "
        "was predicted before its run (75 % in host memory: with the copy speed that 25 and 50 % had shown). "
        "Maps fitted to smaller GPUs ran once, on context lengths new to the process, which cost "
        f"{first[0]} to {first[1]} ms more a token and GPU."
    )
    return Table(headers, rows, caption, text_columns=2)


def cold_load(folder: Path | str = "recorded") -> str:
    """Return how fast a checkpoint was loaded whose files were in no memory, beside its disk."""
    (run,) = load_measurements(Path(folder) / COLD_LOAD)
    loaded, read = (run.values[f"{name}_gb_per_s"].value for name in ("load", "read"))
    seconds = run.values["load"].value
    return (
        f"Loading: shards of {run.settings['model']}, none of them in the page cache, took {seconds:.0f} s "
        f"at {loaded:.2f} GB/s; the disk alone gave {read:.2f} GB/s ({note_of([run])})."
    )


def beside_tensor_parallel(folder: Path | str = "recorded") -> str:
    """Return what the same model and text took on the same two GPUs as a device map and tensor parallel."""
    maps, ours = (load_measurements(Path(folder) / name) for name in (ACCELERATE, WORKSHOP))
    text: dict[str, Any] = {"model": LARGE, "tokens": 4096, "batch": 1}
    (split,) = (run for run in select(maps, placement=FIT, **text) if len(run.settings["limits_bytes"]) == 2)
    alone, tensor = (one(ours, "tpot_ms", strategy=kind, **text) for kind in ("none", "tensor"))
    afterwards = sum(part.ms for part in predict_again(split).tpot.parts[:-1])
    return (
        f"The same two H200s, {LARGE}, {text['tokens']:,} tokens: Accelerate's map over both took "
        f"{split.values[TPOT].value:.0f} ms a token in a first answer ({afterwards:.0f} expected later), "
        f"this workshop's tensor parallel {tensor:.1f} ms, one GPU in it {alone:.1f} ms."
    )


def peak_words(run: Measurement, predicted: Prediction) -> tuple[str, str]:
    """Return the highest memory of each GPU of a map in GB, predicted and measured."""
    sizes = {key: size for key, size in predicted.peak_bytes.items() if isinstance(key, int)}
    measured = [run.bytes_of(f"peak_{key}") for key in sizes]
    return in_gb(sizes.values()), in_gb(measured)


def in_gb(sizes: Iterable[int]) -> str:
    """Return the bytes of each GPU in GB."""
    return " + ".join(f"{size / GB:.2f}" for size in sizes)


def split_table(folder: Path | str = "recorded") -> Table:
    """Return what splitting a large model's layers over two H100s did to its speed."""
    references = load_measurements(Path(folder) / REFERENCES)
    runs = [
        run for kind in OF_STRATEGY for run in select(references, model=LARGE, engine=EAGER, strategy=kind)
    ]
    rates = [run.values[TOKENS_PER_S].value for run in runs]
    rows = [
        (LARGE, WORDS[OF_STRATEGY[run.settings["strategy"]]], f"{speed:.3g}", f"{speed / rates[0]:.2g} ×")
        for run, speed in zip(runs, rates, strict=True)
    ]
    headers = ("model", "where its weights are", "tokens/s", "against one GPU")
    return Table(headers, rows, f"{note_of(runs)}.", text_columns=2)


def key_of(run: Measurement) -> tuple[object, ...]:
    """Return what must be alike for two runs to be compared."""
    return (run.hardware, *(run.settings[name] for name in ("model", "batch", "tokens", "dtype")))
