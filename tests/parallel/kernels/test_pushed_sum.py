"""The sum that ranks push to one another: real processes over one mapped memory, in Triton's interpreter."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.parallel.kernels.pushing_rank import TURNS, part_of
from workshop_utils.parallel.kernels.pushed_sum import words_for
from workshop_utils.parallel.small_sum import SmallSum
from workshop_utils.parallel.tensor import TensorGroup

RANK = Path(__file__).with_name("pushing_rank.py")


@pytest.mark.parametrize(("ranks", "dtype"), [(2, "bfloat16"), (3, "float32")])
def test_every_rank_gets_the_same_sums_turn_after_turn(ranks: int, dtype: str, tmp_path: Path) -> None:
    commands = [
        [sys.executable, str(RANK), str(tmp_path), str(rank), str(ranks), dtype] for rank in range(ranks)
    ]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    try:
        errors = [process.communicate(timeout=120)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * ranks, errors
    found = [torch.load(tmp_path / f"sums{rank}.pt") for rank in range(ranks)]
    for turn in range(TURNS):
        inputs = [part_of(rank, turn, getattr(torch, dtype)) for rank in range(ranks)]
        expected = sum(x.double() @ weight.double().T + residual for x, weight, residual in inputs)
        assert all(torch.equal(sums[turn], found[0][turn]) for sums in found)
        error = (found[0][turn].double() - expected).norm() / expected.norm()
        assert error < (1e-6 if dtype == "float32" else 8e-3)


def test_half_a_word_of_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"7 values of torch\.bfloat16 do not fill words of 2"):
        words_for(7, torch.bfloat16)


def test_where_no_gpu_reaches_another_the_group_sums_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    group = TensorGroup(size=2)
    monkeypatch.setattr(TensorGroup, "sum", lambda self, part: 2 * part)
    small = SmallSum(group, (1, 8), torch.float32, "cpu", one_shot=True)
    assert torch.equal(small(torch.ones(1, 8)), torch.full((1, 8), 2.0))
