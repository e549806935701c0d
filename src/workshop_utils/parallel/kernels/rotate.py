"""What happens between a decode step's QKV product and its attention, in one kernel."""

import torch
import triton
import triton.language as tl


@triton.jit
def _rotated(
    head, norm, norm_offset, eps, cosines, sines, position,
    head_dim: tl.constexpr, padded_dim: tl.constexpr, rotary_dim: tl.constexpr,
):  # fmt: skip
    """Return one head [padded_dim], normed and rotated, in float32."""
    half: tl.constexpr = rotary_dim // 2
    dims = tl.arange(0, padded_dim)
    inside, turns, low = dims < head_dim, dims < rotary_dim, dims < half
    # A dimension turns with the one half the rotary width away: "rotate_half" in transformers.
    partners = tl.where(low, dims + half, dims - half)
    values = tl.load(head + dims, mask=inside, other=0.0).to(tl.float32)
    others = tl.load(head + partners, mask=turns, other=0.0).to(tl.float32)
    if norm is not None:
        scale = tl.rsqrt(tl.sum(values * values, axis=0) / head_dim + eps)
        gains = tl.load(norm + dims, mask=inside, other=0.0).to(tl.float32)
        other_gains = tl.load(norm + partners, mask=turns, other=0.0).to(tl.float32)
        values *= scale * (norm_offset + gains)
        others *= scale * (norm_offset + other_gains)
    angles = position * half + tl.where(low, dims, dims - half)
    cosine = tl.load(cosines + angles, mask=turns, other=1.0).to(tl.float32)
    sine = tl.load(sines + angles, mask=turns, other=0.0).to(tl.float32)
    return values * cosine + tl.where(low, -others, others) * sine


@triton.jit
def _rotate_and_store_kernel(
    qkv, cosines, sines, positions, key_cache, value_cache, q_norm, k_norm, out, tokens, max_tokens,
    norm_offset, eps, heads: tl.constexpr, kv_heads: tl.constexpr, head_dim: tl.constexpr, padded_dim:
    tl.constexpr, rotary_dim: tl.constexpr,
):  # fmt: skip
    # Rows along the first axis of the grid: the others end at 65,535.
    row, index = tl.program_id(0).to(tl.int64), tl.program_id(1)
    sequence = row // tokens
    position = tl.load(positions + sequence).to(tl.int64) + row % tokens
    head = qkv + (row * (heads + 2 * kv_heads) + index) * head_dim
    dims = tl.arange(0, padded_dim)
    inside = dims < head_dim
    # A position beyond the caches would overwrite another head's tokens: it writes nothing.
    kept = dims < tl.where(position < max_tokens, head_dim, 0)
    if index < heads:
        rotated = _rotated(
            head, q_norm, norm_offset, eps, cosines, sines, position, head_dim, padded_dim, rotary_dim
        )
        place = out + (row * heads + index) * head_dim + dims
        tl.store(place, rotated.to(out.dtype.element_ty), mask=inside)
    elif index < heads + kv_heads:
        rotated = _rotated(
            head, k_norm, norm_offset, eps, cosines, sines, position, head_dim, padded_dim, rotary_dim
        )
        token = (sequence * kv_heads + index - heads) * max_tokens + position
        place = key_cache + token * head_dim + dims
        tl.store(place, rotated.to(key_cache.dtype.element_ty), mask=kept)
    else:
        values = tl.load(head + dims, mask=inside, other=0.0)
        token = (sequence * kv_heads + index - heads - kv_heads) * max_tokens + position
        place = value_cache + token * head_dim + dims
        tl.store(place, values.to(value_cache.dtype.element_ty), mask=kept)


def rotate_and_store(
    qkv: torch.Tensor,
    cosines: torch.Tensor,
    sines: torch.Tensor,
    positions: torch.Tensor,
    key_cache: torch.Tensor,
    value_cache: torch.Tensor,
    *,
    heads: int,
    kv_heads: int,
    head_dim: int,
    q_norm: torch.Tensor | None = None,
    k_norm: torch.Tensor | None = None,
    eps: float = 1e-6,
    norm_offset: float = 0.0,
    rotary_dim: int | None = None,
    tokens: int = 1,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Rotate the queries and keys of each sequence's new tokens, store keys and values, return the queries.

    A row is a token, of ``tokens`` a sequence, from that sequence's position on. ``qkv`` is [rows, (heads + 2
    kv_heads) × head_dim], ``cosines`` and ``sines`` [any, rotary_dim / 2], ``positions`` [batch] integers on
    the device, the caches [batch, kv_heads, max_tokens, head_dim]; returns [rows, heads, head_dim].
    ``q_norm`` and ``k_norm`` [head_dim] are RMSNorms of each head before the turn (Qwen 3, Gemma 3). Only the
    first ``rotary_dim`` dimensions turn, all of them if None. Rotary positions:
    https://arxiv.org/abs/2104.09864. All tensors contiguous.
    """
    rows = qkv.shape[0]
    out = qkv.new_empty(rows, heads, head_dim) if out is None else out
    _rotate_and_store_kernel[(rows, heads + 2 * kv_heads)](
        qkv, cosines, sines, positions, key_cache, value_cache, q_norm, k_norm, out, tokens,
        key_cache.shape[2], norm_offset, eps,
        heads=heads, kv_heads=kv_heads, head_dim=head_dim, padded_dim=triton.next_power_of_2(head_dim),
        rotary_dim=rotary_dim or head_dim, num_warps=1, enable_fp_fusion=True,
    )  # fmt: skip
    return out
