import pytest
import torch

from tests.parallel.kernels.references import TOLERANCE, gated, relative_error, rms_norm
from workshop_utils.parallel.kernels.gated_matvec import gated_matvec
from workshop_utils.parallel.kernels.matvec import COLUMNS_A_WARP, Blocks, blocks_for, matvec

VECTORS = Blocks(rows=8, step=128, warps=4)
WIDE = Blocks(rows=4, step=512, warps=2)
# Multiples of neither rows nor step, and of both.
SHAPES = [(37, 300), (48, 256)]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("blocks", [VECTORS, WIDE], ids=["many turns", "one turn"])
@pytest.mark.parametrize("batch", [1, 2, 3, 4])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_a_product_with_norm_bias_and_residual(rows: int, columns: int, batch: int, blocks: Blocks) -> None:
    x, weight, norm = drawn(batch, columns), drawn(rows, columns), drawn(columns)
    bias, residual = drawn(rows), drawn(batch, rows + 1)[:, :rows].contiguous()
    expected = rms_norm(x, norm, 1e-3, 1.0) @ weight.T + bias + residual
    out = torch.full_like(residual, torch.nan)
    found = matvec(
        x, weight, norm=norm, eps=1e-3, norm_offset=1.0, bias=bias, residual=residual, out=out, blocks=blocks
    )
    assert found is out
    assert relative_error(out, expected) < TOLERANCE


@pytest.mark.parametrize("batch", [1, 3])
def test_a_bare_product_with_the_default_blocks(batch: int) -> None:
    x, weight = drawn(batch, 1100), drawn(50, 1100)
    assert relative_error(matvec(x, weight), x @ weight.T) < TOLERANCE


def test_the_sum_may_replace_the_residual() -> None:
    x, weight, hidden = drawn(2, 64), drawn(24, 64), drawn(2, 24)
    expected = x @ weight.T + hidden
    matvec(x, weight, residual=hidden, out=hidden, blocks=VECTORS)
    assert relative_error(hidden, expected) < TOLERANCE


@pytest.mark.parametrize("blocks", [VECTORS, WIDE], ids=["many turns", "one turn"])
@pytest.mark.parametrize("activation", ["silu", "gelu_tanh"])
@pytest.mark.parametrize(
    ("batch", "pairs", "columns"), [(1, 37, 300), (2, 48, 256), (3, 5, 40), (4, 19, 200)]
)
def test_a_gated_product(batch: int, pairs: int, columns: int, activation: str, blocks: Blocks) -> None:
    x, weight, norm = drawn(batch, columns), drawn(2 * pairs, columns) / 8, drawn(columns)
    expected = gated(rms_norm(x, norm, 1e-6) @ weight.T, activation)
    out = torch.full((batch, pairs), torch.nan)
    gated_matvec(x, weight, activation=activation, norm=norm, out=out, blocks=blocks)
    assert relative_error(out, expected) < TOLERANCE


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_every_shape_has_blocks_that_the_hardware_takes(batch: int) -> None:
    for rows in (576, 4096, 152064):
        for columns in (576, 2048, 4096, 7168, 32768):
            blocks = blocks_for(rows, columns, batch)
            assert all(n & (n - 1) == 0 for n in (blocks.rows, blocks.step, blocks.warps))
            assert blocks.step == COLUMNS_A_WARP * blocks.warps


@pytest.mark.parametrize(
    ("x", "weight"),
    [((5, 64), (8, 64)), ((1, 64), (8, 32)), ((64,), (8, 64))],
    ids=["batch", "width", "rank"],
)
def test_shapes_that_do_not_fit_are_refused(x: tuple[int, ...], weight: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="is not"):
        matvec(torch.zeros(x), torch.zeros(weight))


def test_a_strided_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        matvec(torch.zeros(1, 64), torch.zeros(64, 8).T)
