"""The expected speed of 1 to 8 GPUs beside what was recorded on two."""

import pytest

from workshop_utils.planner.scaling import expected_scaling
from workshop_utils.planner.speed import Text

SHORT = Text(1, 128, 128)


@pytest.mark.parametrize("strategy", ["tensor", "data", "pipeline"])
def test_more_gpus_are_faster_and_never_more_than_ideal(strategy: str) -> None:
    points = expected_scaling(strategy, "mistral-small-24b", Text(8, 512, 64))
    assert [point.gpus for point in points] == [1, 2, 4, 8]
    times = [point.times for point in points]
    assert times == sorted(times)
    assert times[0] == 1
    for point in points:
        assert point.low <= point.times <= point.gpus
        assert point.times <= point.high <= point.gpus
    # What nobody recorded has the wider range.
    assert points[1].low / points[1].times > points[2].low / points[2].times


def test_a_larger_model_scales_better_over_tensor_ranks() -> None:
    small, large = (expected_scaling("tensor", name, SHORT) for name in ("llama-3.1-8b", "llama-3.1-70b"))
    assert all(less.times < more.times for less, more in zip(small[1:], large[1:], strict=True))


def test_replicas_scale_as_their_number() -> None:
    points = expected_scaling("data", "llama-3.1-8b", Text(32, 512, 64))
    assert [point.times for point in points] == pytest.approx([1, 2, 4, 8])


def test_sizes_that_cannot_be_are_left_out() -> None:
    # Nine heads in three groups: of 1, 2, 4 and 8 ranks, one.
    assert [point.gpus for point in expected_scaling("tensor", "smollm2-135m", SHORT)] == [1]
