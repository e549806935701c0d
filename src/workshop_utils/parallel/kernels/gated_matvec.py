"""The first half of a gated MLP in one kernel: norm, both products, activation and gate."""

import torch
import triton
import triton.language as tl

from workshop_utils.parallel.kernels.activations import Activation, activated
from workshop_utils.parallel.kernels.matvec import Blocks, blocks_for, check_shapes
from workshop_utils.parallel.kernels.row_products import row_products


@triton.jit
def gated_products(
    x, weight, norm, first, outputs, norm_offset, eps, activation: tl.constexpr,
    batch: tl.constexpr, padded_batch: tl.constexpr, width: tl.constexpr, rows: tl.constexpr,
    step: tl.constexpr, whole: tl.constexpr,
):  # fmt: skip
    """Return activation(gate) × up [padded_batch, rows / 2] in float32, of the outputs from ``first`` on."""
    # One tile holds as many gate rows as up rows, so a gate meets its factor inside the program.
    pairs: tl.constexpr = rows // 2
    both = tl.arange(0, rows)
    pair = first + both % pairs
    weight_rows = weight + (pair + both // pairs * outputs)[:, None] * width
    products = row_products(
        x, weight_rows, (pair < outputs)[:, None], norm, norm_offset, eps,
        batch, padded_batch, width, step, whole,
    )  # fmt: skip
    gate, up = tl.split(tl.permute(tl.reshape(products, [padded_batch, 2, pairs]), (0, 2, 1)))
    return activated(gate, activation) * up


@triton.jit
def _gated_matvec_kernel(
    x, weight, norm, out, outputs, norm_offset, eps, activation: tl.constexpr,
    batch: tl.constexpr, padded_batch: tl.constexpr, width: tl.constexpr, rows: tl.constexpr,
    step: tl.constexpr, whole: tl.constexpr,
):  # fmt: skip
    pairs: tl.constexpr = rows // 2
    first = tl.program_id(0).to(tl.int64) * pairs
    gated = gated_products(
        x, weight, norm, first, outputs, norm_offset, eps, activation, batch, padded_batch, width, rows,
        step, whole,
    )  # fmt: skip
    vectors = tl.arange(0, padded_batch)[:, None]
    columns = (first + tl.arange(0, pairs))[None, :]
    mask = (vectors < batch) & (columns < outputs)
    tl.store(out + vectors * outputs + columns, gated.to(out.dtype.element_ty), mask=mask)


def gated_matvec(
    x: torch.Tensor,
    weight: torch.Tensor,
    *,
    activation: Activation = "silu",
    norm: torch.Tensor | None = None,
    eps: float = 1e-6,
    norm_offset: float = 0.0,
    out: torch.Tensor | None = None,
    blocks: Blocks | None = None,
) -> torch.Tensor:
    """Return activation(h @ gate.T) × (h @ up.T) with h = rms_norm(x), [batch, N] in the type of ``x``.

    ``x`` is [batch, K] with a batch of 1 to 4, ``weight`` [2 N, K]: the gate's rows, then up's. ``norm``,
    ``eps`` and ``norm_offset`` as in ``matvec``; of a program's ``blocks.rows`` half are gates.
    Raises ValueError for shapes that do not fit.
    """
    check_shapes(x, weight)
    batch, width = x.shape
    outputs = weight.shape[0] // 2
    blocks = blocks or blocks_for(2 * outputs, width, batch)
    pairs = blocks.rows // 2
    out = x.new_empty(batch, outputs) if out is None else out
    _gated_matvec_kernel[(triton.cdiv(outputs, pairs),)](
        x, weight, norm, out, outputs, norm_offset, eps, activation=activation,
        batch=batch, padded_batch=triton.next_power_of_2(batch), width=width, rows=blocks.rows,
        step=blocks.step, whole=outputs % pairs == 0, num_warps=blocks.warps, num_stages=1,
        enable_fp_fusion=True,
    )  # fmt: skip
    return out
