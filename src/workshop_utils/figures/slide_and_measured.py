"""The slide's rule beside what an H200 needed, for each recorded context length of one model."""

from collections.abc import Sequence

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.stacked_bars import GB_DECIMAL, Bar, stacked_bars
from workshop_utils.measure.measurement import Measurement
from workshop_utils.memory.slide_rule import SlideCell
from workshop_utils.units import GB

LABELS = {
    "weights": "weights",
    "kv_cache": "KV cache",
    "masks": "attention masks (computed)",
    "activations": "other activations",
    "process": "allocator's reserve, CUDA context",
}
# A sliding layer's mask has one entry for each pair of tokens: one byte as bool, two more in bfloat16.
MASK_BYTES = 3


def slide_and_measured_figure(cells: Sequence[SlideCell], measured: Sequence[Measurement]) -> Picture:
    """Draw two bars for each recorded run: the slide's cell of that many tokens, and the measured memory."""
    bars = []
    for run in measured:
        tokens = run.settings["tokens"]
        cell = next(cell for cell in cells if cell.tokens == tokens)
        slide = {"weights": cell.published.weights_gb * GB, "kv_cache": cell.published.kv_cache_gb * GB}
        bars.append(Bar(f"{tokens:,} tokens: slide", {kind: round(size) for kind, size in slide.items()}))
        bars.append(Bar("measured", measured_parts(run)))
    title = f"{measured[0].settings['model']}: the slide's rule and a measurement"
    return stacked_bars(bars, LABELS, GB_DECIMAL, title=title, note=measured[0].label)


def measured_parts(run: Measurement) -> dict[str, int]:
    """Split the process's memory into its parts, in bytes; they sum to what NVML showed.

    The masks are computed, not measured: 3 bytes × tokens² for a model with sliding layers and sdpa.
    """
    weights, kv_cache = run.bytes_of("weights"), run.bytes_of("kv_cache")
    peak, process = run.bytes_of("peak_allocated"), run.bytes_of("process")
    masks = MASK_BYTES * run.settings["tokens"] ** 2 if run.settings["sliding_layers"] else 0
    return {
        "weights": weights,
        "kv_cache": kv_cache,
        "masks": masks,
        "activations": peak - weights - kv_cache - masks,
        "process": process - peak,
    }
