"""Matrix-vector products for a decode step, with the RMSNorm before and the residual after in one kernel."""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from workshop_utils.parallel.kernels.pushed_sum import Inboxes, packed, push, words_for
from workshop_utils.parallel.kernels.row_products import row_products

# From five vectors on, torch's product on tensor cores is faster: measured on an H100, see CONTRIBUTING.md.
MOST_VECTORS = 4
# A program's loop: columns a turn, and the warps whose threads read them 16 bytes each.
STEP, WIDE_STEP, COLUMNS_A_WARP = 1024, 2048, 256
# Few rows get small blocks, so that all multiprocessors have work.
FEW_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a product is cut: ``rows`` of weights a program, ``step`` columns a turn of its loop.

    ``step`` is best 256 × ``warps``: then a thread's 16 bytes of ``x`` meet the weights that it reads itself.
    """

    rows: int
    step: int
    warps: int


def blocks_for(rows: int, columns: int, batch: int) -> Blocks:
    """Return the blocks for ``batch`` vectors and a weight of ``rows`` × ``columns``: an H100's winners."""
    wide = batch == 1 and columns > WIDE_STEP and columns % WIDE_STEP == 0
    step = WIDE_STEP if wide else STEP
    return Blocks(4 if rows <= FEW_ROWS and not wide else 8, step, step // COLUMNS_A_WARP)


def check_shapes(x: torch.Tensor, weight: torch.Tensor) -> None:
    """Raise ValueError unless ``x`` [1 to 4, K] and ``weight`` [rows, K] are contiguous and fit."""
    if not (
        x.dim() == weight.dim() == 2 and x.shape[1] == weight.shape[1] and 1 <= x.shape[0] <= MOST_VECTORS
    ):
        raise ValueError(
            f"x {tuple(x.shape)} is not [1 to 4, K] for a weight {tuple(weight.shape)} of [N, K]"
        )
    if not (x.is_contiguous() and weight.is_contiguous()):
        raise ValueError("x and weight must be contiguous")


@triton.jit
def _matvec_kernel(
    x, weight, norm, bias, residual, out, inboxes, turns, outputs, norm_offset, eps,
    batch: tl.constexpr, padded_batch: tl.constexpr, width: tl.constexpr, rows: tl.constexpr,
    step: tl.constexpr, whole: tl.constexpr, each: tl.constexpr, rank: tl.constexpr, ranks: tl.constexpr,
):  # fmt: skip
    # 64 bits: the output layer of a large vocabulary has more than 2^31 weights.
    first = tl.program_id(0).to(tl.int64) * rows
    local = tl.arange(0, rows)
    weight_rows = weight + first * width + local[:, None] * width
    row_mask = first + local < outputs
    turn = 0
    if inboxes is not None:
        turn = tl.load(turns) + 1
    products = row_products(
        x, weight_rows, row_mask[:, None], norm, norm_offset, eps,
        batch, padded_batch, width, step, whole,
    )  # fmt: skip
    vectors = tl.arange(0, padded_batch)[:, None]
    mask = (vectors < batch) & row_mask[None, :]
    places = vectors * outputs + first + local[None, :]
    if bias is not None:
        products += tl.load(bias + first + local, mask=row_mask, other=0.0).to(tl.float32)[None, :]
    if residual is not None:
        products += tl.load(residual + places, mask=mask, other=0.0).to(tl.float32)
    if inboxes is None:
        tl.store(out + places, products.to(out.dtype.element_ty), mask=mask)
    else:
        words = first // each + tl.arange(0, rows // each)
        mask = (vectors < batch) & (words * each < outputs)[None, :]
        places = vectors * (outputs // each) + words[None, :]
        size = batch * outputs // each
        push(packed(products.to(x.dtype.element_ty), turn), places, mask, inboxes, turn, size, rank, ranks)


def matvec(
    x: torch.Tensor,
    weight: torch.Tensor,
    *,
    norm: torch.Tensor | None = None,
    eps: float = 1e-6,
    norm_offset: float = 0.0,
    bias: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
    blocks: Blocks | None = None,
) -> torch.Tensor:
    """Return rms_norm(x) @ weight.T + bias + residual, [batch, N] in the type of ``x``.

    ``x`` is [batch, K] with a batch of 1 to 4, ``weight`` [N, K] as in ``nn.Linear``, ``bias`` [N],
    ``residual`` [batch, N]. With ``norm`` [K], x becomes x / sqrt(mean(x²) + eps) × (norm_offset + norm)
    first; Gemma's norms have the offset 1. ``out`` may be ``residual`` itself.
    Raises ValueError for shapes that do not fit.
    """
    out = x.new_empty(x.shape[0], weight.shape[0]) if out is None else out
    _launch(x, weight, out, None, blocks, norm, eps, norm_offset, bias, residual)
    return out


def push_matvec(
    x: torch.Tensor, weight: torch.Tensor, inboxes: Inboxes, residual: torch.Tensor | None = None
) -> None:
    """Compute x @ weight.T + residual as ``matvec``, and write it to all ranks' inboxes as it is made.

    A ``taken_sum`` of shape [batch, N] must follow. Raises ValueError for an odd number of 16-bit outputs.
    """
    words_for(weight.shape[0], x.dtype)
    _launch(x, weight, None, inboxes, residual=residual)


def _launch(
    x: torch.Tensor,
    weight: torch.Tensor,
    out: torch.Tensor | None,
    inboxes: Inboxes | None,
    blocks: Blocks | None = None,
    norm: torch.Tensor | None = None,
    eps: float = 0,
    norm_offset: float = 0,
    bias: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
) -> None:
    check_shapes(x, weight)
    batch, width = x.shape
    outputs = weight.shape[0]
    blocks = blocks or blocks_for(outputs, width, batch)
    addresses, turns, rank, ranks = None, None, 0, 1
    if inboxes is not None:
        addresses, turns, rank, ranks = inboxes.addresses, inboxes.turns, inboxes.rank, inboxes.ranks
    _matvec_kernel[(triton.cdiv(outputs, blocks.rows),)](
        x, weight, norm, bias, residual, out, addresses, turns, outputs, norm_offset, eps,
        batch=batch, padded_batch=triton.next_power_of_2(batch), width=width, rows=blocks.rows,
        step=blocks.step, whole=outputs % blocks.rows == 0, each=4 // x.element_size(), rank=rank,
        ranks=ranks, num_warps=blocks.warps, num_stages=1, enable_fp_fusion=True,
    )  # fmt: skip
