"""A trace in a few figures: per GPU the peak of memory, mean activity, energy."""

from collections.abc import Mapping
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.trace import Trace


def gpu_summaries(trace: Trace) -> list[Mapping[str, Any]]:
    """Return for each GPU: peak bytes, mean percents, joules; None where nothing was reported.

    WorkshopError for a trace without a sample.
    """
    if not trace.samples:
        raise WorkshopError("the trace has no sample that can be read; record it anew.")
    first = next((sample["gpus"]["data"] for sample in trace.samples if sample["gpus"]["data"]), ())
    return [summary_of(trace, gpu) for gpu in first]


def summary_of(trace: Trace, gpu: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the figures of one GPU."""
    index = gpu["index"]

    def values(figure: str) -> list[float]:
        return [value for _, value in trace.gpu_series(index, figure) if value is not None]

    energy = values("energy_joules")
    return {
        "index": index,
        "name": gpu["name"],
        "peak_memory_bytes": max(values("memory_used_bytes"), default=None),
        "memory_total_bytes": gpu.get("memory_total_bytes"),
        "mean_utilization_percent": mean(values("utilization_percent")),
        "mean_sm_percent": mean(values("sm_percent")),
        "mean_tensor_percent": mean(values("tensor_percent")),
        "mean_dram_percent": mean(values("dram_percent")),
        "mean_power_watts": mean(values("power_watts")),
        "joules": energy[-1] - energy[0] if len(energy) > 1 else None,
        "throttled_by": sorted({str(reason) for reasons in lists(trace, index) for reason in reasons}),
    }


def lists(trace: Trace, index: int) -> list[list[str]]:
    """Return what throttled a GPU at each sample."""
    return [
        reasons for _, reasons in trace.gpu_series(index, "throttle_reasons") if isinstance(reasons, list)
    ]


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
