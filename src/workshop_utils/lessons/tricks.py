"""Notebook 03: what each trick of this workshop's decode loop buys, measured by leaving it out."""

from collections.abc import Sequence
from pathlib import Path

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.speed_bars import Speed, speed_bars
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.lessons.one_gpu import decode_limit
from workshop_utils.lessons.two_h100 import TOKENS_PER_S, note_of
from workshop_utils.measure.measurement import Measurement, load_measurements
from workshop_utils.models.find import find_architecture

FILE = "recorded/tricks_of_decoding.json"
MODEL, GPU = "llama-3.1-8b", "H200"
WORDS = {
    (): "all of them",
    ("graph",): "without the CUDA graph",
    ("graph", "static_cache"): "no graph, and a cache that grows",
    ("kernels",): "torch's own kernels",
    ("fused",): "Q, K, V and gate, up apart",
    ("overlap",): "without early launches",
    ("device_sampling",): "token picked on the host",
}


def load_tricks(path: Path | str = FILE, gpu: str = GPU) -> tuple[Measurement, ...]:
    """Return the runs on one kind of GPU, each with one trick left out, or none."""
    return tuple(run for run in load_measurements(path) if gpu in run.hardware)


def tricks_figure(runs: Sequence[Measurement]) -> Picture:
    """Draw the decode speed with each trick left out, the slowest first, and the GPU's limit."""
    limits = find_gpu(GPU)
    limit = decode_limit(find_architecture(MODEL), limits)
    ordered = sorted(runs, key=lambda run: run.values[TOKENS_PER_S].value)
    speeds = [Speed(WORDS[tuple(run.settings["without"])], run.values[TOKENS_PER_S].value) for run in ordered]
    return speed_bars(
        speeds,
        title=f"Llama 3.1 8B on one {GPU}: one trick left out",
        note=note_of(runs),
        limit=limit,
        limit_label=f"{limit:.0f}: the weights read at {limits.bandwidth_gb_per_s:,g} GB/s",
    )
