"""A mixture of experts for a decode step: the numbers of the chosen experts never leave the device.

Shapes are those of ``batch × active`` picks, whichever experts they are, so that a CUDA graph can hold it. A
program reads the number of its expert and starts from there. Tokens that chose the same expert read it each
on their own: right for a few tokens, of which each chooses a few of many experts, and correct for any batch.
"""

import torch
import triton
import triton.language as tl

from workshop_utils.parallel.kernels.activations import Activation
from workshop_utils.parallel.kernels.gated_matvec import gated_products
from workshop_utils.parallel.kernels.matvec import COLUMNS_A_WARP, STEP, Blocks, blocks_for
from workshop_utils.parallel.kernels.row_products import add_step, load_tile


@triton.jit
def _gated_experts_kernel(
    x, weight, numbers, shares, norm, out, outputs, norm_offset, eps, activation: tl.constexpr,
    active: tl.constexpr, width: tl.constexpr, rows: tl.constexpr, step: tl.constexpr, whole: tl.constexpr,
):  # fmt: skip
    pairs: tl.constexpr = rows // 2
    first = tl.program_id(0).to(tl.int64) * pairs
    pick = tl.program_id(1)
    # 64 bits: all experts of a layer may have more than 2^31 weights.
    expert = tl.load(numbers + pick).to(tl.int64)
    gated = gated_products(
        x + pick // active * width, weight + expert * (2 * outputs * width), norm, first, outputs,
        norm_offset, eps, activation, 1, 1, width, rows, step, whole,
    )  # fmt: skip
    columns = (first + tl.arange(0, pairs))[None, :]
    shared = gated * tl.load(shares + pick)
    tl.store(out + pick * outputs + columns, shared.to(out.dtype.element_ty), mask=columns < outputs)


def gated_experts(
    x: torch.Tensor,
    weight: torch.Tensor,
    numbers: torch.Tensor,
    shares: torch.Tensor,
    *,
    activation: Activation = "silu",
    norm: torch.Tensor | None = None,
    eps: float = 1e-6,
    norm_offset: float = 0.0,
    blocks: Blocks | None = None,
) -> torch.Tensor:
    """Return share × activation(h @ gate.T) × (h @ up.T) for each pick, [batch, active, N] as ``x``.

    h = rms_norm(x) as in ``gated_matvec``; ``x`` is [batch, K], ``weight`` [experts, 2 N, K]. ``numbers`` and
    ``shares`` [batch, active] are those of ``route``. Raises ValueError for shapes that do not fit.
    """
    batch, width = x.shape
    if weight.shape[2] != width or not (x.is_contiguous() and weight.is_contiguous()):
        raise ValueError(f"x {tuple(x.shape)} and experts {tuple(weight.shape)} do not fit, or are strided")
    active, outputs = numbers.shape[1], weight.shape[1] // 2
    blocks = blocks or blocks_for(2 * outputs * numbers.numel(), width, 1)
    pairs = blocks.rows // 2
    out = x.new_empty(batch, active, outputs)
    _gated_experts_kernel[(triton.cdiv(outputs, pairs), numbers.numel())](
        x, weight, numbers, shares, norm, out, outputs, norm_offset, eps, activation=activation,
        active=active, width=width, rows=blocks.rows, step=blocks.step, whole=outputs % pairs == 0,
        num_warps=blocks.warps, num_stages=1, enable_fp_fusion=True,
    )  # fmt: skip
    return out


@triton.jit
def _summed_experts_kernel(
    inside, weight, numbers, residual, out, outputs, active: tl.constexpr, width: tl.constexpr,
    rows: tl.constexpr, step: tl.constexpr, whole: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(1).to(tl.int64)
    places = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)
    row_mask = places < outputs
    each: tl.constexpr = 128 // inside.dtype.element_ty.primitive_bitwidth
    masked: tl.constexpr = (not whole) or width % step != 0
    turns: tl.constexpr = (width + step - 1) // step
    columns = tl.arange(0, step)[None, :]
    products = tl.zeros([1, rows, step // each], tl.float32)
    squares = tl.zeros([1, step // each], tl.float32)
    weight_rows = weight + places[:, None] * width
    # One row of all choices, one behind the other: the next tile is on its way across experts too.
    expert = tl.load(numbers + token * active).to(tl.int64)
    tile = load_tile(
        weight_rows + expert * (outputs * width) + columns, row_mask[:, None] & (columns < width), masked
    )
    for turn in tl.range(1, active * turns):
        ahead = turn % turns * step + columns
        expert = tl.load(numbers + token * active + turn // turns).to(tl.int64)
        following = load_tile(
            weight_rows + expert * (outputs * width) + ahead, row_mask[:, None] & (ahead < width), masked
        )
        pick = inside + (token * active + (turn - 1) // turns) * width
        now = (turn - 1) % turns * step + columns
        products, squares = add_step(products, squares, tile, pick, None, 0.0, now, 1, width, masked)
        tile = following
    pick, now = inside + (token * active + active - 1) * width, (turns - 1) * step + columns
    products, squares = add_step(products, squares, tile, pick, None, 0.0, now, 1, width, masked)
    total = tl.reshape(tl.sum(products, axis=2), [rows])
    if residual is not None:
        total += tl.load(residual + token * outputs + places, mask=row_mask, other=0.0).to(tl.float32)
    tl.store(out + token * outputs + places, total.to(out.dtype.element_ty), mask=row_mask)


def summed_blocks(rows: int, columns: int) -> Blocks:
    """Return the blocks of a sum over experts: one turn a choice, where its columns are few."""
    step = min(STEP, max(COLUMNS_A_WARP, triton.next_power_of_2(columns)))
    return Blocks(blocks_for(rows, columns, 1).rows, step, step // COLUMNS_A_WARP)


def summed_experts(
    inside: torch.Tensor,
    weight: torch.Tensor,
    numbers: torch.Tensor,
    residual: torch.Tensor | None = None,
    blocks: Blocks | None = None,
) -> torch.Tensor:
    """Return the sum over a token's choices of inside @ down.T, plus ``residual``: [batch, N] as ``inside``.

    ``inside`` [batch, active, K] is from ``gated_experts``, with the shares in it; ``weight`` is
    [experts, N, K], ``residual`` [batch, N]. Raises ValueError for shapes that do not fit.
    """
    batch, active, width = inside.shape
    if weight.shape[2] != width or not (inside.is_contiguous() and weight.is_contiguous()):
        raise ValueError(
            f"inside {tuple(inside.shape)} and experts {tuple(weight.shape)} do not fit, or are strided"
        )
    outputs = weight.shape[1]
    blocks = blocks or summed_blocks(outputs, width)
    out = inside.new_empty(batch, outputs)
    _summed_experts_kernel[(triton.cdiv(outputs, blocks.rows), batch)](
        inside, weight, numbers, residual, out, outputs, active=active, width=width, rows=blocks.rows,
        step=blocks.step, whole=outputs % blocks.rows == 0, num_warps=blocks.warps, num_stages=1,
        enable_fp_fusion=True,
    )  # fmt: skip
    return out
