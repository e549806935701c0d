"""Bytes of an ideal KV cache: every token that a layer may still look at, once, and nothing else.

What an engine reserves is more: blocks, padding, a whole maximum length. That belongs to the engine.
"""

from collections import Counter
from dataclasses import replace

from workshop_utils.memory.precisions import KV_BITS
from workshop_utils.memory.term import Certainty, Term
from workshop_utils.models.architecture import (
    Architecture,
    Attention,
    ConstantState,
    GatedDeltaNet,
    LatentAttention,
    Mamba2,
)

SOURCES = {
    "full": "grouped-query attention, https://arxiv.org/abs/2305.13245",
    "sliding": "sliding window attention, https://arxiv.org/abs/2310.06825, section 2",
    "latent": "multi-head latent attention, https://arxiv.org/abs/2405.04434, section 2.1",
    "mamba": "state space duality, https://arxiv.org/abs/2405.21060, section 7",
    "recurrent": "the cache that transformers 5.17 fills on the meta device",
    "linear": "gated delta networks, https://arxiv.org/abs/2412.06464, section 3",
}


def kv_cache_bytes(architecture: Architecture, tokens: int, batch: int, kv_dtype: str) -> int:
    """Return the bytes of the ideal cache of ``batch`` sequences of ``tokens`` tokens each."""
    return sum(term.bytes for term in kv_cache_terms(architecture, tokens, batch, kv_dtype))


def kv_cache_terms(architecture: Architecture, tokens: int, batch: int, kv_dtype: str) -> tuple[Term, ...]:
    """Return one term for each distinct mixer of the model, for example sliding and full layers."""
    terms = []
    for mixer, layers in Counter(layer.attention for layer in architecture.layers).items():
        if isinstance(mixer, Attention | LatentAttention):
            terms.append(kv_cache_term(mixer, layers, tokens, batch, kv_dtype))
        state = mixer.beside if isinstance(mixer, Attention) else mixer
        if state is not None and not isinstance(state, LatentAttention) and state.state_values:
            terms.append(state_term(state, layers, batch, kv_dtype))
    crossing = Counter(layer.cross_attention for layer in architecture.layers if layer.cross_attention)
    for attention, layers in crossing.items():
        terms.append(cross_term(attention, layers, tokens, batch, kv_dtype))
    return tuple(terms)


def cross_term(attention: Attention, layers: int, tokens: int, batch: int, kv_dtype: str) -> Term:
    """Return the K and V of the encoder's output; the input is taken to be as long as the answer."""
    term = kv_cache_term(attention, layers, tokens, batch, kv_dtype)
    return replace(
        term,
        name=f"KV cache: {layers} cross-attention layers",
        formula=f"{term.formula}, of an input of as many tokens as the answer",
        certainty="assumed",
    )


def state_term(mixer: Mamba2 | GatedDeltaNet | ConstantState, layers: int, batch: int, kv_dtype: str) -> Term:
    """Return layers × state × sequences: as much for one token as for a million.

    Assumed: transformers 5.17 keeps the recurrent part in float32, other engines may not.
    """
    rest, bits = mixer.state_values - mixer.recurrent_values, KV_BITS[kv_dtype]
    count = f"{batch:,} sequence{'s' if batch > 1 else ''}"
    return Term(
        name=f"KV cache: {layers} {mixer.kind} layers",
        kind="kv_cache",
        bytes=layers * batch * (mixer.recurrent_values * 4 + rest * bits // 8),
        formula=f"{layers} layers × {count} × (state of {mixer.recurrent_values:,} values × 4 bytes + "
        f"convolution of {rest:,} values × {bits / 8:g} bytes)",
        source=SOURCES[mixer.kind],
        certainty="assumed",
    )


def kv_cache_term(
    attention: Attention | LatentAttention, layers: int, tokens: int, batch: int, kv_dtype: str
) -> Term:
    """Return layers × cached values a token × min(tokens, window) × sequences × bytes a value."""
    kept = min(tokens, attention.window or tokens)
    if isinstance(attention, Attention):
        value_dim = attention.value_dim or attention.head_dim
        width = f"{attention.kv_heads} KV heads × (K {attention.head_dim} + V {value_dim})"
    else:
        index = f" + index key {attention.index_dim}" if attention.index_dim else ""
        width = f"(latent {attention.kv_rank} + rotary key {attention.rotary_dim}{index})"
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
