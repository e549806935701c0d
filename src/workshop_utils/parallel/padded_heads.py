"""A model with more attention heads, the new ones of zeros: it computes the same and can be cut further.

SmolLM2 135M has 9 heads in 3 groups, which 2 ranks cannot share. With a fourth group, whose output enters the
sum with zeros, it has 12 heads and 4 KV heads, the same logits, and a third more attention to compute.
"""

from dataclasses import replace
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import Architecture, Attention
from workshop_utils.parallel.spec import DecoderSpec
from workshop_utils.parallel.weights import Weights


def with_kv_heads(spec: DecoderSpec, kv_heads: int) -> DecoderSpec:
    """Return the same decoder with more groups of heads; WorkshopError for fewer, or fused projections."""
    if kv_heads < spec.kv_heads or spec.fused or spec.qkv_bias:
        raise WorkshopError(
            f"{spec.model} has {spec.kv_heads} KV heads and cannot be padded to {kv_heads}; give more, and a "
            "model whose Q, K and V are matrices of their own, without bias."
        )
    return replace(spec, kv_heads=kv_heads, heads=spec.heads // spec.kv_heads * kv_heads)


def with_more_heads(architecture: Architecture, padded: DecoderSpec) -> Architecture:
    """Return the shape of a model with the heads of ``padded``: what its ranks must be able to share."""
    layers = tuple(
        replace(layer, attention=replace(layer.attention, heads=padded.heads, kv_heads=padded.kv_heads))
        if isinstance(layer.attention, Attention)
        else layer
        for layer in architecture.layers
    )
    name = f"{architecture.name} with {padded.kv_heads} KV heads"
    return replace(architecture, name=name, layers=layers)


class PaddedHeads:
    """The ``weights`` of a decoder ``own``, read as those of one with more KV heads."""

    def __init__(self, weights: Weights, own: DecoderSpec) -> None:
        self._weights, self._own = weights, own

    def read(self, name: str, shape: tuple[int, ...], *cut: slice) -> Any:
        """Return a slice of a tensor, padded with zeros where it has rows or columns of the new heads."""
        import torch.nn.functional as F

        own = self._own
        kind = name.removesuffix(".weight").rpartition(".")[2]
        heads = {"q_proj": own.heads, "k_proj": own.kv_heads, "v_proj": own.kv_heads, "o_proj": own.heads}
        if kind not in heads:
            return self._weights.read(name, shape, *cut)
        size = heads[kind] * own.head_dim
        if kind == "o_proj":
            whole = F.pad(self._weights.read(name, (shape[0], size)), (0, shape[1] - size))
        else:
            whole = F.pad(self._weights.read(name, (size, shape[1])), (0, 0, 0, shape[0] - size))
        return whole[cut].contiguous()
