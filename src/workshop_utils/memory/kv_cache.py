"""Bytes of an ideal KV cache: every token that a layer may still look at, once, and nothing else.

What an engine reserves is more: blocks, padding, a whole maximum length, layers that ignore their window.
That belongs to the engine.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from functools import lru_cache
from typing import Protocol

from workshop_utils.memory.kv_precisions import KV_PRECISIONS, KvPrecision
from workshop_utils.memory.term import Term
from workshop_utils.models.architecture import (
    Attention,
    ConstantState,
    GatedDeltaNet,
    LatentAttention,
    Layer,
    Mamba2,
    Mixer,
)

SOURCES = {
    "full": "grouped-query attention, https://arxiv.org/abs/2305.13245",
    "sliding": "sliding window attention, https://arxiv.org/abs/2310.06825, section 2",
    "latent": "multi-head latent attention, https://arxiv.org/abs/2405.04434, section 2.1",
    "mamba": "state space duality, https://arxiv.org/abs/2405.21060, section 7",
    "recurrent": "the cache that transformers 5.17 fills on the meta device",
    "linear": "gated delta networks, https://arxiv.org/abs/2412.06464, section 3",
}
# transformers 5.17 keeps recurrent states in float32, and what a convolution looks back on in no fewer bits
# than the model computes in.
STATE_BYTES, LEAST_STATE_BITS = 4, 16


class HasLayers(Hashable, Protocol):
    """A ``Shard``, or an ``Architecture`` where the model is not cut."""

    @property
    def layers(self) -> tuple[Layer, ...]: ...


def kv_cache_bytes(holder: HasLayers, tokens: int, batch: int, kv_dtype: str) -> int:
    """Return the bytes of the ideal cache of ``batch`` sequences of ``tokens`` tokens each."""
    return sum(term.bytes for term in kv_cache_terms(holder, tokens, batch, kv_dtype))


def kv_cache_terms(holder: HasLayers, tokens: int, batch: int, kv_dtype: str) -> tuple[Term, ...]:
    """Return one term for each distinct mixer that the layers have, for example sliding and full ones.

    A latent is cached whole on every tensor rank; KV heads and states as the layers of the shard have them.
    """
    precision = KV_PRECISIONS[kv_dtype]
    terms: list[Term] = []
    mixers, crossing = counted_mixers(holder)
    for mixer, layers in mixers.items():
        terms += mixer_terms(mixer, layers, tokens, batch, precision)
    terms += (cross_term(mixer, layers, tokens, batch, precision) for mixer, layers in crossing.items())
    return tuple(terms)


@lru_cache(maxsize=1024)
def counted_mixers(holder: HasLayers) -> tuple[Counter[Mixer], Counter[Attention]]:
    """Return how many layers have each mixer, and each cross-attention."""
    mixers = Counter(layer.attention for layer in holder.layers)
    return mixers, Counter(layer.cross_attention for layer in holder.layers if layer.cross_attention)


def mixer_terms(mixer: Mixer, layers: int, tokens: int, batch: int, precision: KvPrecision) -> Iterator[Term]:
    """Yield what equal mixers keep of each token, and what they keep of a sequence of any length."""
    match mixer:
        case Attention(beside=beside):
            yield token_term(mixer, layers, tokens, batch, precision)
            if beside:
                yield state_term(beside, layers, batch, precision)
        case LatentAttention():
            yield token_term(mixer, layers, tokens, batch, precision)
        case Mamba2() | GatedDeltaNet() | ConstantState():
            if mixer.state_values:
                yield state_term(mixer, layers, batch, precision)


def token_term(
    attention: Attention | LatentAttention, layers: int, tokens: int, batch: int, precision: KvPrecision
) -> Term:
    """Return layers × cached values a token × min(tokens, window) × sequences × bytes a value."""
    kept = min(tokens, attention.window or tokens)
    length = f"min({tokens:,}, window {attention.window:,})" if attention.window else f"{tokens:,}"
    note = f" ({precision.note})" if precision.note else ""
    return Term(
        name=f"KV cache: {layers} {attention.kind} layers",
        kind="kv_cache",
        bytes=layers * batch * precision.stored_bytes(attention.cached_values, kept),
        formula=f"{layers} layers × {width_words(attention)} × {length} tokens × {sequences(batch)} × "
        f"{precision.bits_per_value / 8:g} bytes{note}",
        source=SOURCES[attention.kind] if precision.bits >= 16 else precision.source,
        certainty=precision.certainty,
    )


def width_words(attention: Attention | LatentAttention) -> str:
    """Return the values of one token in words."""
    if isinstance(attention, Attention):
        value_dim = attention.value_dim or attention.head_dim
        return f"{attention.kv_heads} KV heads × (K {attention.head_dim} + V {value_dim})"
    index = f" + index key {attention.index_dim}" if attention.index_dim else ""
    return f"(latent {attention.kv_rank} + rotary key {attention.rotary_dim}{index})"


def sequences(batch: int) -> str:
    return f"{batch:,} sequence{'s' if batch > 1 else ''}"


def cross_term(attention: Attention, layers: int, tokens: int, batch: int, precision: KvPrecision) -> Term:
    """Return the K and V of the encoder's output; the input is taken to be as long as the answer."""
    term = token_term(attention, layers, tokens, batch, precision)
    return term._replace(
        name=f"KV cache: {layers} cross-attention layers",
        formula=f"{term.formula}, of an input of as many tokens as the answer",
        certainty="assumed",
    )


def state_term(
    mixer: Mamba2 | GatedDeltaNet | ConstantState, layers: int, batch: int, precision: KvPrecision
) -> Term:
    """Return layers × state × sequences: as much for one token as for a million.

    Assumed: transformers 5.17 keeps the recurrent part in float32, other engines may not.
    """
    rest, bits = mixer.state_values - mixer.recurrent_values, max(precision.bits, LEAST_STATE_BITS)
    return Term(
        name=f"KV cache: {layers} {mixer.kind} layers",
        kind="kv_cache",
        bytes=layers * batch * (mixer.recurrent_values * STATE_BYTES + rest * bits // 8),
        formula=f"{layers} layers × {sequences(batch)} × (state of {mixer.recurrent_values:,} values × "
        f"{STATE_BYTES} bytes + convolution of {rest:,} values × {bits / 8:g} bytes)",
        source=SOURCES[mixer.kind],
        certainty="assumed",
    )
