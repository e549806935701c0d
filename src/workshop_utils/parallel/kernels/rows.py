"""Row-wise kernels of a prefill, where the matrix products themselves are torch's."""

import torch
import triton
import triton.language as tl

from workshop_utils.parallel.kernels.activations import Activation, activated

COLUMNS = 1024


@triton.jit
def _rms_norm_kernel(
    x, weight, residual, total, normed, eps, norm_offset, width: tl.constexpr, padded_width: tl.constexpr
):
    columns = tl.arange(0, padded_width)
    places = tl.program_id(0).to(tl.int64) * width + columns
    inside = columns < width
    values = tl.load(x + places, mask=inside, other=0.0)
    if residual is not None:
        added = tl.load(residual + places, mask=inside, other=0.0)
        # Rounded before the norm, since the rounded sum is what the next layer adds to.
        values = (values.to(tl.float32) + added.to(tl.float32)).to(values.dtype)
        tl.store(total + places, values, mask=inside)
    wide = values.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, axis=0) / width + eps)
    gains = norm_offset + tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + places, (wide * scale * gains).to(values.dtype), mask=inside)


def rms_norm_rows(
    x: torch.Tensor,
    weight: torch.Tensor,
    eps: float,
    norm_offset: float = 0.0,
    residual: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (x + residual, its RMSNorm), both [tokens, K] like ``x``; without a residual the sum is ``x``.

    The norm is s / sqrt(mean(s²) + eps) × (norm_offset + weight) with ``weight`` [K]. All contiguous.
    """
    tokens, width = x.shape
    total = x if residual is None else torch.empty_like(x)
    normed = torch.empty_like(x)
    padded = triton.next_power_of_2(width)
    _rms_norm_kernel[(tokens,)](
        x, weight, residual, total, normed, eps, norm_offset,
        width=width, padded_width=padded, num_warps=min(16, max(1, padded // 512)),
    )  # fmt: skip
    return total, normed


@triton.jit
def _gated_rows_kernel(gate_up, out, width, activation: tl.constexpr, step: tl.constexpr):
    columns = tl.program_id(1) * step + tl.arange(0, step)
    inside = columns < width
    row = tl.program_id(0).to(tl.int64)
    gate = tl.load(gate_up + row * 2 * width + columns, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + columns, mask=inside, other=0.0).to(tl.float32)
    gated = activated(gate, activation) * up
    tl.store(out + row * width + columns, gated.to(out.dtype.element_ty), mask=inside)


def gated_rows(gate_up: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Return activation(gate) × up, [tokens, N], from ``gate_up`` [tokens, 2 N], gates first, contiguous."""
    tokens, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = gate_up.new_empty(tokens, width)
    _gated_rows_kernel[(tokens, triton.cdiv(width, COLUMNS))](
        gate_up, out, width, activation=activation, step=COLUMNS, num_warps=4
    )
    return out
