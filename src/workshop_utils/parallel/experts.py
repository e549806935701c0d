"""A mixture of experts: each token passes the few experts that its router chooses."""

from typing import Any

from workshop_utils.parallel.layer_weights import LayerWeights
from workshop_utils.parallel.norms import gated
from workshop_utils.parallel.spec import DecoderSpec


def routed(x: Any, weights: LayerWeights, spec: DecoderSpec) -> tuple[Any, Any]:
    """Return of each token (rows of ``x``) its experts' numbers and their weights, (tokens, active)."""
    import torch.nn.functional as F

    assert spec.experts
    chances = F.softmax(F.linear(x, weights.router).float(), dim=-1)
    shares, numbers = chances.topk(spec.experts.active, dim=-1)
    if spec.experts.normalised:
        shares = shares / shares.sum(dim=-1, keepdim=True)
    return numbers, shares.to(x.dtype)


def mixture(x: Any, weights: LayerWeights, spec: DecoderSpec) -> Any:
    """Return this rank's part of the experts' output for ``x`` (batch, tokens, hidden).

    Every rank holds a share of each expert's channels, so that the sum over ranks is the whole.
    """
    import torch
    import torch.nn.functional as F

    rows = x.reshape(-1, x.shape[-1])
    numbers, shares = routed(rows, weights, spec)
    result = torch.zeros_like(rows)
    for expert in numbers.unique().tolist():
        token, choice = torch.where(numbers == expert)
        inside = gated(F.linear(rows[token], weights.gate_up[expert]), spec.activation)
        given = F.linear(inside, weights.down[expert]) * shares[token, choice, None]
        result.index_add_(0, token, given.to(result.dtype))
    return result.view_as(x)
