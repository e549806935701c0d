"""A prefill that is limited by its matrix products: what stands between them is joined into few kernels."""

from typing import Any

from workshop_utils.parallel.attention import window_mask
from workshop_utils.parallel.cache import KvCache
from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.experts import mixture
from workshop_utils.parallel.kernels.rotate import rotate_and_store
from workshop_utils.parallel.kernels.rows import gated_rows, rms_norm_rows
from workshop_utils.parallel.layer_weights import LayerWeights


def fast_prefill(decoder: Decoder, x: Any, cache: KvCache, lengths: Any) -> Any:
    """Run prompts, and fill the cache: as ``Decoder.prefill``."""
    import torch

    batch, tokens = x.shape[:2]
    hidden = (x if decoder.embedding is None else decoder.embedded(x)).reshape(batch * tokens, -1)
    # What a layer adds is added in the kernel of the next norm.
    added = None
    for number, weights in enumerate(decoder.layers):
        hidden, normed = norm_of_sum(decoder, hidden, added, weights.attention_norm)
        added = attended(decoder, normed, number, weights, cache, tokens)
        hidden, normed = norm_of_sum(decoder, hidden, added, weights.mlp_norm)
        if decoder.spec.experts:
            added = decoder.tensor.sum(mixture(normed, weights, decoder.spec))
            continue
        inside = gated_rows(torch.nn.functional.linear(normed, weights.gate_up), decoder.spec.activation)
        added = projected(decoder, inside, weights.down, weights.after_mlp_norm)
    cache.filled(lengths, tokens)
    hidden = (hidden + added).view(batch, tokens, -1)
    if decoder.head is None:
        return hidden
    return decoder.logits(hidden[torch.arange(batch, device=hidden.device), lengths - 1])


def norm_of_sum(decoder: Decoder, hidden: Any, added: Any, norm: Any) -> tuple[Any, Any]:
    """Return hidden + added, and its norm."""
    spec = decoder.spec
    if added is None:
        return rms_norm_rows(hidden, norm, spec.eps, spec.norm_offset)
    return rms_norm_rows(added, norm, spec.eps, spec.norm_offset, residual=hidden)


def attended(  # noqa: PLR0913, PLR0917 - a layer, its input and its cache
    decoder: Decoder, normed: Any, number: int, weights: LayerWeights, cache: KvCache, tokens: int
) -> Any:
    """Return what the attention of a layer adds to every row."""
    import torch.nn.functional as F

    spec, layer = decoder.spec, decoder.spec.layers[decoder.first + number]
    keys, values = cache.keys[number], cache.values[number]
    batch, kv_heads = keys.shape[:2]
    heads = weights.output.shape[1] // spec.head_dim
    q = rotate_and_store(
        F.linear(normed, weights.qkv, weights.qkv_bias), *decoder.tables[layer.rotary],
        cache.lengths.new_zeros(batch), keys, values, heads=heads, kv_heads=kv_heads, head_dim=spec.head_dim,
        q_norm=weights.q_norm, k_norm=weights.k_norm, eps=spec.eps, norm_offset=spec.norm_offset,
        tokens=tokens,
    )  # fmt: skip
    mask = window_mask(tokens, layer.window, q.device)
    mixed = F.scaled_dot_product_attention(
        q.view(batch, tokens, heads, -1).transpose(1, 2), keys[:, :, :tokens], values[:, :, :tokens],
        attn_mask=mask, is_causal=mask is None, scale=spec.scale, enable_gqa=True,
    )  # fmt: skip
    mixed = mixed.transpose(1, 2).reshape(batch * tokens, -1)
    return projected(decoder, mixed, weights.output, weights.after_attention_norm)


def projected(decoder: Decoder, x: Any, weight: Any, norm: Any) -> Any:
    """Return weight × x, summed over the ranks, and normed where the family does so."""
    import torch.nn.functional as F

    total = decoder.tensor.sum(F.linear(x, weight))
    spec = decoder.spec
    return total if norm is None else rms_norm_rows(total, norm, spec.eps, spec.norm_offset)[1]
