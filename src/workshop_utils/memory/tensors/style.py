"""How the model classes of transformers 5.17 differ in what they compute, by model type.

Read from ``models/*/modeling_*.py``. A type that is not listed computes as Llama does, and its figures are
assumed.
"""

from typing import Literal, NamedTuple


class Style(NamedTuple):
    """``norm``: llama multiplies by the weight after going back to bfloat16, gemma and olmo before it.

    ``norm_first``: the layer's input is normed. ``norm_last``: so is what attention and MLP add.
    ``fused``: Q, K, V come from one projection, gate and up from another. ``rotary``: halves computes the two
    halves apart, partial joins what is not rotated, complex multiplies complex numbers, single rotates K
    after Q is done with. ``residual_scale`` and ``embedding_scale``: a product with a number of its own.
    ``single_routing``: routing weights stay in float32. ``window_everywhere``: every layer has the window.
    """

    norm: Literal["llama", "gemma", "olmo", "typed"] = "llama"
    norm_first: bool = True
    norm_last: bool = False
    fused: bool = False
    rotary: Literal["llama", "halves", "partial", "complex", "single", "float32"] = "llama"
    residual_scale: bool = False
    embedding_scale: bool = False
    value_norm: bool = False
    single_routing: bool = False
    clamped_gate: bool = False
    all_experts: bool = False
    known: bool = True


GEMMA = Style(norm="gemma", norm_last=True, embedding_scale=True)
STYLES = {
    "llama": Style(),
    "mistral": Style(),
    "qwen2": Style(),
    "qwen3": Style(),
    "qwen3_moe": Style(),
    "mixtral": Style(single_routing=True),
    "phi3": Style(fused=True, rotary="partial"),
    "granite": Style(residual_scale=True, embedding_scale=True),
    "olmo2": Style(norm="olmo", norm_first=False, norm_last=True, rotary="float32"),
    "gemma2": GEMMA,
    "gemma3": GEMMA,
    "gemma3_text": GEMMA,
    "gemma4": Style(
        norm="gemma",
        norm_last=True,
        embedding_scale=True,
        rotary="single",
        value_norm=True,
        single_routing=True,
    ),
    "gemma4_text": Style(
        norm="gemma",
        norm_last=True,
        embedding_scale=True,
        rotary="single",
        value_norm=True,
        single_routing=True,
    ),
    "deepseek_v2": Style(rotary="complex", single_routing=True),
    "deepseek_v3": Style(rotary="complex", single_routing=True),
    "gpt_oss": Style(norm="olmo", rotary="halves", clamped_gate=True),
    "llama4": Style(norm="typed", rotary="complex", all_experts=True),
    "llama4_text": Style(norm="typed", rotary="complex", all_experts=True),
}
UNKNOWN = Style(known=False)


def style_of(model_type: str) -> Style:
    """Return how this type computes, Llama's way where it is not listed."""
    return STYLES.get(model_type, UNKNOWN)
