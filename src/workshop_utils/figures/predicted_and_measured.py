"""The small model's memory on the reader's own machine: predicted beside measured."""

from typing import Any

from workshop_utils.figures.stacked_bars import MB_DECIMAL, Bar, stacked_bars
from workshop_utils.measure.measurement import Measurement

LABELS = {"weights": "weights", "kv_cache": "KV cache", "activations": "working memory at the peak"}


def predicted_and_measured_figure(predicted: Measurement, measured: Measurement) -> Any:
    """Draw one bar each; a part that the machine does not report is left out."""
    bars = [
        Bar(label, {kind: run.bytes_of(kind) for kind in LABELS if kind in run.values})
        for label, run in (("predicted", predicted), ("measured", measured))
    ]
    return stacked_bars(
        bars, LABELS, MB_DECIMAL, title="Your machine: predicted and measured", note=measured.label
    )
