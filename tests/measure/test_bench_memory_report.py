"""Predicted beside measured: errors, right and wrong calls on memory, and the summary apart by models."""

from dataclasses import replace

import pytest

from workshop_utils.measure.bench_memory_case import MemoryCase
from workshop_utils.measure.bench_memory_children import CaseResult
from workshop_utils.measure.bench_memory_report import Comparison, predict, summary
from workshop_utils.measure.bench_memory_text import plan_text, results_text
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture

CASE = MemoryCase("qwen3-8b", 4096)
PREDICTED = estimate(find_architecture("qwen3-8b"), tokens=4096 + 16)
PEAK, PROCESS = PREDICTED.peak_bytes, PREDICTED.process_bytes


def compared(
    peak: int | None = PEAK, process: int = PROCESS, device_bytes: int = 10**12, **of: object
) -> Comparison:
    values = {} if peak is None else {"peak_allocated": peak, "process": process, "peak_reserved": 1}
    result = CaseResult(CASE, "measured", None, (values,), 1.0)
    return Comparison(predict(CASE, None, device_bytes), replace(result, **of))  # type: ignore[arg-type]


def test_the_prediction_is_of_prompt_and_answer_together() -> None:
    assert predict(CASE, None, None).estimate == PREDICTED


def test_errors_are_relative_to_what_was_measured() -> None:
    one = compared(peak=2 * PEAK, process=PROCESS // 2)
    assert one.peak_error == pytest.approx(-0.5)
    assert one.process_error == pytest.approx(1.0)


def test_what_was_not_measured_has_no_error() -> None:
    for one in (compared(peak=None), compared(outcome="out_of_memory"), compared(values=())):
        assert (one.peak_error, one.process_error) == (None, None)
    on_cpu = compared(values=({"peak_allocated": PEAK, "process": PROCESS},))
    assert on_cpu.peak_error == 0
    assert on_cpu.process_error is None


@pytest.mark.parametrize(
    ("device_bytes", "outcome", "right"),
    [
        (10**12, "measured", True), (10**12, "out_of_memory", False), (10**9, "measured", False),
        (10**9, "out_of_memory", True), (10**9, "failed", None), (None, "measured", None),
    ],
)  # fmt: skip
def test_fits_or_not_is_called_right_or_wrong(device_bytes: int, outcome: str, right: bool | None) -> None:
    assert compared(device_bytes=device_bytes, outcome=outcome).memory_call is right


def test_an_unknown_model_is_a_case_without_prediction() -> None:
    one = predict(MemoryCase("no-such-model", 8), None, 10**9)
    assert (one.estimate, one.fits) == (None, None)
    assert "no model 'no-such-model'" in str(one.reason)


def test_the_summary_keeps_fitted_and_held_out_models_apart() -> None:
    other = MemoryCase("phi-4", 4096)
    held_out = Comparison(predict(other, None, 10**12), replace(compared().result, case=other))
    rows = [compared(peak=round(PEAK * scale)) for scale in (1.0, 1.25, 2.0)]
    both = summary([*rows, held_out], {"qwen3-8b"})
    assert both["fitted"]["cases"] == 3
    assert both["fitted"]["peak"]["median"] == pytest.approx(0.2)
    assert both["fitted"]["peak"]["worst"] == pytest.approx(0.5)
    assert (both["held out"]["cases"], both["held out"]["memory_calls_right"]) == (1, 1)
    assert summary(rows, set())["fitted"]["peak"] is None


def test_the_table_shows_every_case_and_what_became_of_it() -> None:
    rows = [
        compared(peak=2 * PEAK),
        compared(outcome="out_of_memory", message="while decoding: full"),
        compared(outcome="out_of_memory", device_bytes=10**9),
        compared(device_bytes=10**9),
        compared(values=(), outcome="timed_out", message="while decoding: stopped after 3 s"),
    ]
    text = results_text(rows, {"qwen3-8b"}, "a machine")
    lines = text.splitlines()
    assert "-50.0 %" in lines[1]
    assert lines[2].endswith("out of memory, predicted to fit")
    assert "> " in lines[2]
    assert lines[3].endswith("out of memory, as predicted")
    assert lines[4].endswith("fits, predicted not to")
    assert lines[5].endswith("timed out: while decoding: stopped after 3 s")
    assert "measured on a machine" in text
    assert "fits or not: 2 of 4 predicted rightly" in text
    assert "held out: no case" in text


def test_the_plan_marks_what_is_predicted_to_run_out_of_memory() -> None:
    plans = [
        predict(CASE, None, 10**12),
        predict(CASE, None, 10**9),
        predict(replace(CASE, model="x"), None, 1),
    ]
    text = plan_text(plans, "a machine")
    lines = text.splitlines()
    assert lines[1].endswith("fits")
    assert lines[2].endswith("out of memory")
    assert "not predicted: no model 'x'" in lines[3]
    assert "3 cases on a machine, 1 of them predicted to run out of memory; all are run." in text
