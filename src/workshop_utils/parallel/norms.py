"""RMSNorm as the families have it, and the activations of their MLPs."""

from typing import Any

from workshop_utils.parallel.spec import DecoderSpec


def rms_norm(x: Any, weight: Any, spec: DecoderSpec) -> Any:
    """Divide by the root mean square of the last dimension, in float32, and multiply by the norm's weight.

    Gemma adds one to its weights and goes back to the model's precision after the product, the others before.
    """
    import torch

    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + spec.eps)
    if spec.norm_offset:
        return (wide * (spec.norm_offset + weight.float())).to(x.dtype)
    return weight * wide.to(x.dtype)


def gated(gate_up: Any, activation: str) -> Any:
    """Return activation(gate) × up of the two halves of the last dimension."""
    import torch.nn.functional as F

    gate, up = gate_up.chunk(2, dim=-1)
    return (F.silu(gate) if activation == "silu" else F.gelu(gate, approximate="tanh")) * up
