"""The memory that the engine predicts for a case, against what GPUs held at their peak."""

from pathlib import Path

import pytest

from workshop_utils.measure.measurement import Measurement, load_measurements
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.bench_predicted import predicted_peaks

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
TOLERANCE = 0.05
RUNS = [
    run
    for name in ("one_h100_workshop", "two_h200_workshop")
    for run in load_measurements(RECORDED / f"{name}.json")
    if run.settings["engine"] == "this workshop"
]


def case_of(run: Measurement) -> BenchCase:
    settings = run.settings
    strategy = "tensor" if settings["strategy"] == "none" else settings["strategy"]
    split = {strategy: settings["ranks"]}
    return BenchCase(
        strategy, settings["model"], ranks=settings["ranks"], twin=True, batch=settings["batch"],
        tokens=settings["tokens"], new=settings["new_tokens"], micro_batches=settings["micro_batches"],
        tensor=split.get("tensor", 1), pipeline=split.get("pipeline", 1),
    )  # fmt: skip


@pytest.mark.parametrize("run", RUNS, ids=[run.what for run in RUNS])
def test_a_recorded_peak_is_the_predicted_one(run: Measurement) -> None:
    predicted = predicted_peaks(case_of(run))
    assert predicted is not None
    # Of a data parallel run one replica is predicted, and all are alike.
    ranks = run.settings["ranks"]
    for rank in range(ranks):
        measured, expected = run.bytes_of(f"peak_rank_{rank}"), predicted[rank % len(predicted)]
        assert abs(measured / expected - 1) < TOLERANCE


def test_what_needs_two_gpus_is_among_them() -> None:
    (large,) = [run for run in RUNS if run.settings["model"] == "llama-3.1-70b"]
    assert large.bytes_of("peak_rank_0") + large.bytes_of("peak_rank_1") > 140e9


def test_a_stage_is_predicted_with_the_layers_that_it_really_gets() -> None:
    case = BenchCase("pipeline", "mistral-small-24b", ranks=2, pipeline=2, twin=True, tokens=512, new=64)
    first, last = predicted_peaks(case) or ()
    assert first > 1.05 * last  # 21 layers and the embedding, 19 and the head


def test_what_the_engine_does_not_know_has_no_prediction() -> None:
    assert predicted_peaks(BenchCase("tensor", "smollm2-135m", ranks=2, tensor=2, kv_heads=4)) is None
