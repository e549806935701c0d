"""The kernels' functions in plain torch, float32."""

import torch
import torch.nn.functional as F

TOLERANCE = 1e-4


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over the norm; NaN if anything was left unwritten."""
    return float((found - expected).norm() / expected.norm())


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, offset: float = 0.0) -> torch.Tensor:
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps) * (offset + weight)


def gated(gate_up: torch.Tensor, activation: str) -> torch.Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return (F.silu(gate) if activation == "silu" else F.gelu(gate, approximate="tanh")) * up


def turned(heads: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotate [batch, heads, dim] by angles [batch, rotary_dim / 2], each dimension with the one half away."""
    half = angles.shape[-1]
    first, second, rest = heads.split([half, half, heads.shape[-1] - 2 * half], dim=-1)
    cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine, rest], dim=-1)


def attention(
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    lengths: list[int],
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
) -> torch.Tensor:
    group = q.shape[1] // keys.shape[1]
    rows = []
    for sequence, length in enumerate(lengths):
        seen = slice(max(0, length - window) if window else 0, length)
        k, v = (cache[sequence, :, seen].repeat_interleave(group, 0) for cache in (keys, values))
        scores = torch.einsum("hd,htd->ht", q[sequence], k) * scale
        scores = softcap * torch.tanh(scores / softcap) if softcap else scores
        rows.append(torch.einsum("ht,htd->hd", scores.softmax(-1), v))
    return torch.stack(rows)
