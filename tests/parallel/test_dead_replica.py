"""A replica that died makes no tokens: the figures of a run count those that are left."""

import pytest

from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.bench_result import RunFigures
from workshop_utils.parallel.data import Answered

CASE = BenchCase("data", "smollm2-135m", ranks=2, batch=4, new=11, repeats=1)
RANK = {
    "replica": 0, "rank": 0, "stage": 0, "tensor_rank": 0, "hardware": "CPU of a test", "joules": 88.0,
    "ttft_ms": [30.0], "tpot_ms": [100.0],
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
