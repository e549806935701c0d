"""Functions of one number, on float32, inside kernels; by ``exp`` alone, which the interpreter has too."""

from typing import Literal

import triton
import triton.language as tl

Activation = Literal["silu", "gelu_tanh"]


@triton.jit
def activated(gate, activation: tl.constexpr):
    """Return silu(gate), or gelu(gate) in its tanh form: https://arxiv.org/abs/1606.08415, section 2."""
    if activation == "silu":
        inner = gate
    else:
        tl.static_assert(activation == "gelu_tanh", "activation is silu or gelu_tanh")
        # 0.5 (1 + tanh(z)) = sigmoid(2 z) with z = sqrt(2 / pi) (x + 0.044715 x³)
        inner = 1.5957691216057308 * (gate + 0.044715 * gate * gate * gate)
    return gate / (1.0 + tl.exp(-inner))


@triton.jit
def capped(scores, softcap):
    """Return softcap × tanh(scores / softcap): https://arxiv.org/abs/2408.00118, section 2."""
    return softcap * (1.0 - 2.0 / (tl.exp(2.0 * scores / softcap) + 1.0))
