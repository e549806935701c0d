"""Predicted beside measured for every case of ``workshop bench memory``, and how far apart they are."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.measure.bench_memory_case import MemoryCase
from workshop_utils.measure.bench_memory_children import CaseResult
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.models.find import find_architecture


@dataclass(frozen=True, slots=True)
class Prediction:
    """What ``estimate`` says of a case, or in ``reason`` why it says nothing.

    ``fits``: every rank ends on a device of this size, the allocator's reserve given back where it must be;
    None where the size is unknown.
    """

    case: MemoryCase
    estimate: Estimate | None
    reason: str | None
    fits: bool | None

    def as_json(self) -> dict[str, object]:
        if self.estimate is None:
            return {"reason": self.reason}
        names = ("peak_bytes", "process_bytes")
        per_gpu = [{name: getattr(gpu, name) for name in names} for gpu in self.estimate.per_gpu]
        return {"fits": self.fits, "per_gpu": per_gpu}


def predict(case: MemoryCase, gpu: Gpu | None, device_bytes: int | None) -> Prediction:
    """Return the prediction for the whole text, prompt and answer, on a device of ``device_bytes``."""
    try:
        result = estimate(
            find_architecture(case.model), tokens=case.total_tokens, batch=case.batch,
            attention=case.attention, cache=case.cache, pipeline_parallel=case.pipeline_parallel, gpu=gpu,
        )  # fmt: skip
    except WorkshopError as error:
        return Prediction(case, None, str(error), None)
    fits = None if device_bytes is None else all(rank.fits(device_bytes) for rank in result.per_gpu)
    return Prediction(case, result, None, fits)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One case: predicted beside measured. Errors: (predicted - measured) / measured, worst rank."""

    prediction: Prediction
    result: CaseResult

    @property
    def peak_error(self) -> float | None:
        return self._error("peak_bytes", "peak_allocated")

    @property
    def process_error(self) -> float | None:
        return self._error("process_bytes", "process") if self.on_gpu else None

    @property
    def on_gpu(self) -> bool:
        """A process on a CPU has no CUDA context, which the prediction counts: the two do not compare."""
        return any("peak_reserved" in values for values in self.result.values)

    @property
    def memory_call(self) -> bool | None:
        """Whether fits or not was predicted rightly; None where one of the two is not known."""
        known = {"measured": True, "out_of_memory": False}.get(self.result.outcome)
        fits = self.prediction.fits
        return None if known is None or fits is None else fits == known

    def _error(self, predicted_name: str, measured_name: str) -> float | None:
        """Return the relative error of largest size among the ranks; None unless all was measured."""
        result, predicted = self.result, self.prediction.estimate
        measured = [values.get(measured_name) for values in result.values]
        if result.outcome != "measured" or predicted is None or len(predicted.per_gpu) != len(measured):
            return None
        errors = [
            (getattr(gpu, predicted_name) - value) / value
            for gpu, value in zip(predicted.per_gpu, measured, strict=True)
            if value
        ]
        return max(errors, key=abs) if len(errors) == len(measured) else None

    def as_json(self) -> dict[str, object]:
        result = self.result
        return {
            "case": result.case.as_json(), "outcome": result.outcome, "message": result.message,
            "seconds": round(result.seconds, 2), "predicted": self.prediction.as_json(),
            "measured": [dict(values) for values in result.values], "peak_error": self.peak_error,
            "process_error": self.process_error, "memory_call": self.memory_call,
        }  # fmt: skip


def summary(comparisons: Sequence[Comparison], fitted_models: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return counts and absolute errors, apart for the models of ``fitted_models`` and all others."""
    fitted = [one for one in comparisons if one.result.case.model in fitted_models]
    held_out = [one for one in comparisons if one.result.case.model not in fitted_models]
    return {"fitted": summary_of(fitted), "held out": summary_of(held_out)}


def summary_of(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the number of cases, median and worst error of peak and process, and right calls on memory."""
    calls = [one.memory_call for one in comparisons if one.memory_call is not None]
    return {
        "cases": len(comparisons),
        "peak": median_and_worst([one.peak_error for one in comparisons]),
        "process": median_and_worst([one.process_error for one in comparisons]),
        "memory_calls": len(calls),
        "memory_calls_right": sum(calls),
    }


def median_and_worst(errors: Sequence[float | None]) -> Mapping[str, float] | None:
    """Return median and largest absolute error of those known; None without any."""
    known = [abs(error) for error in errors if error is not None]
    return {"cases": len(known), "median": statistics.median(known), "worst": max(known)} if known else None
