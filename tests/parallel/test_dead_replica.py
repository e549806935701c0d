"""A replica that died makes no tokens: the figures of a run count those that are left."""

import pytest

from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.bench_result import RunFigures
from workshop_utils.parallel.bench_text import comparison_text
from workshop_utils.parallel.data import Answered

CASE = BenchCase("data", "smollm2-135m", ranks=2, batch=4, new=11, repeats=1)
RANK = {
    "replica": 0, "rank": 0, "stage": 0, "tensor_rank": 0, "hardware": "CPU of a test", "joules": 88.0,
    "ttft_ms": [30.0], "tpot_ms": [100.0], "peak_bytes": 1, "weight_bytes": 1, "copy_bytes_per_second": 1,
}  # fmt: skip


def figures(*, alive: int) -> RunFigures:
    failures = {number: "ended by SIGKILL" for number in range(alive, 2)}
    answered = Answered([[1] * 11] * 8, {0: 8, 1: 0}, failures, 2.0)
    return RunFigures(CASE, "smollm2-135m", (RANK,) * alive, None, answered)


def test_two_replicas_make_twice_the_tokens_of_one() -> None:
    assert figures(alive=2).tokens_per_s == pytest.approx(2 * 4 * 10)
    assert figures(alive=2).joules_per_token == pytest.approx(2 * 88 / (8 * 11))


def test_a_dead_one_counts_for_nothing_and_its_energy_is_not_known() -> None:
    left = figures(alive=1)
    assert left.tokens_per_s == pytest.approx(4 * 10)
    assert left.joules_per_token is None


def test_a_table_of_several_runs_names_the_one_that_died() -> None:
    table = comparison_text([figures(alive=2), figures(alive=1)])
    failed = "data × 2, batch 4: replica 1 failed, the others went on: ended by SIGKILL"
    assert table.splitlines()[-2:] == ["", failed]
    assert "failed" not in comparison_text([figures(alive=2)] * 2)
