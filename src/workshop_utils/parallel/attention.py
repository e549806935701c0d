"""Attention of one layer on one rank: projection, rotation, cache, and the product with all cached tokens."""

from typing import Any

from workshop_utils.parallel.cache import KvCache
from workshop_utils.parallel.layer_weights import LayerWeights
from workshop_utils.parallel.norms import rms_norm
from workshop_utils.parallel.spec import DecoderSpec


def heads_of(x: Any, weights: LayerWeights, spec: DecoderSpec, turn: tuple[Any, Any]) -> tuple[Any, Any, Any]:
    """Return Q, K and V of ``x`` (batch, tokens, hidden): (batch, this rank's heads, tokens, head_dim)."""
    import torch.nn.functional as F

    batch, tokens, _ = x.shape
    qkv = F.linear(x, weights.qkv, weights.qkv_bias).view(batch, tokens, -1, spec.head_dim).transpose(1, 2)
    kv_heads = kv_heads_of(weights, spec)
    q, k, v = qkv.split([qkv.shape[1] - 2 * kv_heads, kv_heads, kv_heads], dim=1)
    if spec.qk_norm:
        q = rms_norm(q, weights.q_norm, spec)
        k = rms_norm(k, weights.k_norm, spec)
    return turned(q, *turn), turned(k, *turn), v


def kv_heads_of(weights: LayerWeights, spec: DecoderSpec) -> int:
    """Return the KV heads on this rank: what of the projection's rows is not Q's, halved."""
    rows: int = weights.qkv.shape[0] - weights.output.shape[1]
    return rows // (2 * spec.head_dim)


def turned(heads: Any, cosines: Any, sines: Any) -> Any:
    """Turn pairs of values by their position's angles; the tables are (batch or 1, 1, tokens, width / 2)."""
    import torch

    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)


def prompt_attention(  # noqa: PLR0913, PLR0917 - heads, where they are kept, and the layer's two numbers
    q: Any, k: Any, v: Any, cache: KvCache, layer: int, window: int | None, scale: float
) -> Any:
    """Attend within prompts that begin at position 0, and keep K and V."""
    import torch.nn.functional as F

    tokens = q.shape[2]
    cache.keys[layer][:, :, :tokens] = k
    cache.values[layer][:, :, :tokens] = v
    mask = window_mask(tokens, window, q.device)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
    )


def window_mask(tokens: int, window: int | None, device: Any) -> Any:
    """Return which tokens a prompt's tokens see, (tokens, tokens); None where that is simply those before."""
    import torch

    if window is None or tokens <= window:
        return None
    place = torch.arange(tokens, device=device)
    distance = place[:, None] - place
    return (distance >= 0) & (distance < window)


def token_attention(  # noqa: PLR0913, PLR0917 - heads, where they are kept, and the layer's two numbers
    q: Any, k: Any, v: Any, cache: KvCache, layer: int, window: int | None, scale: float
) -> Any:
    """Attend from one new token of each sequence to all of it, the new one included."""
    import torch
    import torch.nn.functional as F

    keys, values = cache.keys[layer], cache.values[layer]
    sequences = torch.arange(q.shape[0], device=q.device)
    keys[sequences, :, cache.lengths] = k[:, :, 0]
    values[sequences, :, cache.lengths] = v[:, :, 0]
    length = cache.room if cache.whole else cache.longest + 1
    behind = cache.lengths[:, None] - torch.arange(length, device=q.device)
    seen = behind >= 0
    if window is not None:
        seen &= behind < window
    return F.scaled_dot_product_attention(
        q, keys[:, :, :length], values[:, :, :length], attn_mask=seen[:, None, None], scale=scale,
        enable_gqa=True,
    )  # fmt: skip
