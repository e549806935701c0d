"""Matrix-vector products for a decode step, with the RMSNorm before and the residual after in one kernel."""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from workshop_utils.parallel.kernels.overlap import launch_options
from workshop_utils.parallel.kernels.row_products import row_products

MOST_VECTORS = 8
ANY = 1 << 62


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a product is cut: ``rows`` of weights a program, ``step`` columns a turn of its loop.

    Without tensor cores ``step`` is best 256 × ``warps``: then a thread's 16 bytes of ``x`` meet the weights
    that it reads itself. ``stages`` is how many tiles are kept on their way, with tensor cores only.
    """

    rows: int
    step: int
    warps: int
    stages: int = 1
    tensor_cores: bool = False

    def padded(self, batch: int) -> int:
        """Return the vectors that a kernel computes with: a power of two, and 8 on tensor cores."""
        return MOST_VECTORS if self.tensor_cores else int(triton.next_power_of_2(batch))


# Up to so many vectors, rows and columns: the first line that fits counts. Few rows get small blocks, so that
# all multiprocessors have work.
DEFAULTS: tuple[tuple[int, int, int, Blocks], ...] = (
    (2, 3072, ANY, Blocks(rows=4, step=1024, warps=4)),
    (2, ANY, ANY, Blocks(rows=8, step=1024, warps=4)),
    (8, 3072, ANY, Blocks(rows=16, step=256, warps=4, stages=4, tensor_cores=True)),
    (8, 16384, ANY, Blocks(rows=32, step=256, warps=4, stages=4, tensor_cores=True)),
    (8, ANY, ANY, Blocks(rows=64, step=128, warps=4, stages=4, tensor_cores=True)),
)


def blocks_for(rows: int, columns: int, batch: int) -> Blocks:
    """Return the blocks for ``batch`` vectors and a weight of ``rows`` × ``columns``."""
    shape = (batch, rows, columns)
    return next(blocks for *most, blocks in DEFAULTS if all(s <= m for s, m in zip(shape, most, strict=True)))


def check_shapes(x: torch.Tensor, weight: torch.Tensor) -> None:
    """Raise ValueError unless ``x`` [1 to 8, K] and ``weight`` [rows, K] are contiguous and fit."""
    if not (
        x.dim() == weight.dim() == 2 and x.shape[1] == weight.shape[1] and 1 <= x.shape[0] <= MOST_VECTORS
    ):
        raise ValueError(
            f"x {tuple(x.shape)} is not [1 to 8, K] for a weight {tuple(weight.shape)} of [N, K]"
        )
    if not (x.is_contiguous() and weight.is_contiguous()):
        raise ValueError("x and weight must be contiguous")


@triton.jit
def _matvec_kernel(
    x, weight, norm, bias, residual, out, outputs, norm_offset, eps,
    batch: tl.constexpr, padded_batch: tl.constexpr, width: tl.constexpr, rows: tl.constexpr,
    step: tl.constexpr, whole: tl.constexpr, tensor_cores: tl.constexpr, overlap: tl.constexpr,
):  # fmt: skip
    # 64 bits: the output layer of a large vocabulary has more than 2^31 weights.
    first = tl.program_id(0).to(tl.int64) * rows
    local = tl.arange(0, rows)
    weight_rows = weight + first * width + local[:, None] * width
    row_mask = first + local < outputs
    products = row_products(
        x, weight_rows, row_mask[:, None], norm, norm_offset, eps,
        batch, padded_batch, width, step, whole, tensor_cores, overlap,
    )  # fmt: skip
    vectors = tl.arange(0, padded_batch)[:, None]
    mask = (vectors < batch) & row_mask[None, :]
    places = vectors * outputs + first + local[None, :]
    if bias is not None:
        products += tl.load(bias + first + local, mask=row_mask, other=0.0).to(tl.float32)[None, :]
    if residual is not None:
        products += tl.load(residual + places, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + places, products.to(out.dtype.element_ty), mask=mask)


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
    overlap: bool = False,
) -> torch.Tensor:
    """Return rms_norm(x) @ weight.T + bias + residual, [batch, N] in the type of ``x``.

    ``x`` is [batch, K] with a batch of 1 to 8, ``weight`` [N, K] as in ``nn.Linear``, ``bias`` [N],
    ``residual`` [batch, N]. With ``norm`` [K], x becomes x / sqrt(mean(x²) + eps) × (norm_offset + norm)
    first; Gemma's norms have the offset 1. ``out`` may be ``residual`` itself.
    ``overlap`` launches ahead of time, see ``overlap.py``. Raises ValueError for shapes that do not fit.
    """
    check_shapes(x, weight)
    batch, width = x.shape
    outputs = weight.shape[0]
    blocks = blocks or blocks_for(outputs, width, batch)
    out = x.new_empty(batch, outputs) if out is None else out
    _matvec_kernel[(triton.cdiv(outputs, blocks.rows),)](
        x, weight, norm, bias, residual, out, outputs, norm_offset, eps,
        batch=batch, padded_batch=blocks.padded(batch), width=width, rows=blocks.rows, step=blocks.step,
        whole=outputs % blocks.rows == 0, tensor_cores=blocks.tensor_cores, overlap=overlap,
        num_warps=blocks.warps, num_stages=blocks.stages, **launch_options(overlap),
    )  # fmt: skip
    return out
