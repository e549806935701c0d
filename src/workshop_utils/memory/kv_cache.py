"""Bytes of an ideal KV cache: every token that a layer may still look at, once, and nothing else.

What an engine reserves is more: blocks, padding, a whole maximum length. That belongs to the engine.
"""

from collections import Counter

from workshop_utils.memory.precisions import KV_BITS
from workshop_utils.memory.term import Certainty, Term
from workshop_utils.models.architecture import Architecture, Attention, LatentAttention

SOURCES = {
    "full": "grouped-query attention, https://arxiv.org/abs/2305.13245",
    "sliding": "sliding window attention, https://arxiv.org/abs/2310.06825, section 2",
    "latent": "multi-head latent attention, https://arxiv.org/abs/2405.04434, section 2.1",
}


def kv_cache_bytes(architecture: Architecture, tokens: int, batch: int, kv_dtype: str) -> int:
    """Return the bytes of the ideal cache of ``batch`` sequences of ``tokens`` tokens each."""
    return sum(term.bytes for term in kv_cache_terms(architecture, tokens, batch, kv_dtype))


def kv_cache_terms(architecture: Architecture, tokens: int, batch: int, kv_dtype: str) -> tuple[Term, ...]:
    """Return one term for each distinct attention of the model, for example sliding and full layers."""
    return tuple(
        kv_cache_term(attention, layers, tokens, batch, kv_dtype)
        for attention, layers in Counter(layer.attention for layer in architecture.layers).items()
    )


def kv_cache_term(
    attention: Attention | LatentAttention, layers: int, tokens: int, batch: int, kv_dtype: str
) -> Term:
    """Return layers × cached values a token × min(tokens, window) × sequences × bytes a value."""
    kept = min(tokens, attention.window or tokens)
    width = (
        f"{attention.kv_heads} KV heads × (K {attention.head_dim} + V {attention.head_dim})"
        if isinstance(attention, Attention)
        else f"(latent {attention.kv_rank} + rotary key {attention.rotary_dim})"
    )
    length = f"min({tokens:,}, window {attention.window:,})" if attention.window else f"{tokens:,}"
    count = f"{batch:,} sequence{'s' if batch > 1 else ''}"
    bits = KV_BITS[kv_dtype]
    certainty: Certainty = "exact" if bits >= 16 else "assumed"
    scales = "" if bits >= 16 else ", scales left out"
    return Term(
        name=f"KV cache: {layers} {attention.kind} layers",
        kind="kv_cache",
        bytes=layers * attention.cached_values * kept * batch * bits // 8,
        formula=(f"{layers} layers × {width} × {length} tokens × {count} × {bits / 8:g} bytes{scales}"),
        source=SOURCES[attention.kind],
        certainty=certainty,
    )
