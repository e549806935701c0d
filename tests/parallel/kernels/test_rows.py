import pytest
import torch

from tests.parallel.kernels.references import TOLERANCE, gated, relative_error, rms_norm
from workshop_utils.parallel.kernels.rows import gated_rows, rms_norm_rows


@pytest.mark.parametrize("columns", [64, 300])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_rows_are_added_and_normed(columns: int, offset: float) -> None:
    draw = torch.Generator().manual_seed(4)
    x, residual = (torch.randn(5, columns, generator=draw) for _ in range(2))
    weight = torch.randn(columns, generator=draw)
    same, normed = rms_norm_rows(x, weight, 1e-3, offset)
    assert same is x
    assert relative_error(normed, rms_norm(x, weight, 1e-3, offset)) < TOLERANCE
    total, normed = rms_norm_rows(x, weight, 1e-3, offset, residual)
    assert relative_error(total, x + residual) < TOLERANCE
    assert relative_error(normed, rms_norm(x + residual, weight, 1e-3, offset)) < TOLERANCE


@pytest.mark.parametrize("activation", ["silu", "gelu_tanh"])
@pytest.mark.parametrize("columns", [37, 1500])
def test_rows_are_gated(columns: int, activation: str) -> None:
    gate_up = torch.randn(3, 2 * columns, generator=torch.Generator().manual_seed(5))
    assert relative_error(gated_rows(gate_up, activation), gated(gate_up, activation)) < TOLERANCE
