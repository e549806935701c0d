"""The small model's memory on the reader's own machine: predicted beside measured."""

from collections.abc import Mapping

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.stacked_bars import MB_DECIMAL, Bar, stacked_bars
from workshop_utils.measure.measurement import Measurement

LABELS = {"weights": "weights", "kv_cache": "KV cache", "activations": "working memory at the peak"}


def predicted_and_measured_figure(predicted: Mapping[str, int], measured: Measurement) -> Picture:
    """Draw one bar each; a part that the machine does not report is left out."""
    bars = [
        Bar("predicted", {kind: predicted[kind] for kind in LABELS if kind in predicted}),
        Bar("measured", {kind: measured.bytes_of(kind) for kind in LABELS if kind in measured.values}),
    ]
    return stacked_bars(
        bars, LABELS, MB_DECIMAL, title="Your machine: predicted and measured", note=measured.label
    )
