"""The tensors of a decoder, and how each rank's share of them is put together from the model's own."""

from dataclasses import dataclass
from typing import Any

from workshop_utils.parallel.spec import DecoderSpec
from workshop_utils.parallel.tensor import TensorGroup
from workshop_utils.parallel.weights import Weights


@dataclass(slots=True)
class LayerWeights:
    """One layer's tensors on one rank.

    Q, K and V are one matrix, gate and up another: fewer, larger
    products.

    ``qkv`` ((heads + 2 KV heads) × head_dim, hidden), ``output`` (hidden, heads × head_dim), ``gate_up``
    (2 × width, hidden) and ``down`` (hidden, width), each with this rank's heads and width; with experts, a
    dimension more in front of the last two, and a ``router`` (experts, hidden). Norms are whole everywhere.
    """

    attention_norm: Any
    qkv: Any
    qkv_bias: Any
    q_norm: Any
    k_norm: Any
    output: Any
    after_attention_norm: Any
    mlp_norm: Any
    gate_up: Any
    down: Any
    after_mlp_norm: Any
    router: Any

    @property
    def bytes(self) -> int:
        tensors = (getattr(self, name) for name in self.__slots__)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def read_layer(spec: DecoderSpec, number: int, weights: Weights, tensor: TensorGroup) -> LayerWeights:
    """Return one layer's share for this rank."""
    at, hidden = f"layers.{number}.", (spec.hidden,)

    def norm(name: str, there: bool = True, width: tuple[int, ...] = hidden) -> Any:
        return weights.read(f"{at}{name}.weight", width) if there else None

    mlp_norm = "pre_feedforward_layernorm" if spec.sandwich_norms else "post_attention_layernorm"
    heads = tensor.share(spec.heads, "heads")
    columns = slice(heads.start * spec.head_dim, heads.stop * spec.head_dim)
    gate_up, down = read_mlp(spec, at, weights, tensor)
    return LayerWeights(
        attention_norm=norm("input_layernorm"),
        qkv=read_qkv(spec, at, "weight", weights, tensor),
        qkv_bias=read_qkv(spec, at, "bias", weights, tensor) if spec.qkv_bias else None,
        q_norm=norm("self_attn.q_norm", spec.qk_norm, (spec.head_dim,)),
        k_norm=norm("self_attn.k_norm", spec.qk_norm, (spec.head_dim,)),
        output=weights.read(
            f"{at}self_attn.o_proj.weight",
            (spec.hidden, spec.heads * spec.head_dim),
            slice(None),
            columns,
        ),
        after_attention_norm=norm("post_attention_layernorm", spec.sandwich_norms),
        mlp_norm=norm(mlp_norm),
        gate_up=gate_up,
        down=down,
        after_mlp_norm=norm("post_feedforward_layernorm", spec.sandwich_norms),
        router=weights.read(f"{at}mlp.gate.weight", (spec.experts.count, spec.hidden))
        if spec.experts
        else None,
    )


def read_qkv(spec: DecoderSpec, at: str, kind: str, weights: Weights, tensor: TensorGroup) -> Any:
    """Return the rows of this rank's heads of Q, K and V, one below the other: a column cut."""
    import torch

    inputs = (spec.hidden,) if kind == "weight" else ()
    kv = tensor.kv_heads(spec.kv_heads)
    parts = (("q", spec.heads, tensor.share(spec.heads)), ("k", spec.kv_heads, kv), ("v", spec.kv_heads, kv))
    all_rows, before, found = (spec.heads + 2 * spec.kv_heads) * spec.head_dim, 0, []
    for letter, count, heads in parts:
        rows = slice((before + heads.start) * spec.head_dim, (before + heads.stop) * spec.head_dim)
        if spec.fused:
            found.append(weights.read(f"{at}self_attn.qkv_proj.{kind}", (all_rows, *inputs), rows))
            before += count
        else:
            shape = (count * spec.head_dim, *inputs)
            found.append(weights.read(f"{at}self_attn.{letter}_proj.{kind}", shape, rows))
    return torch.cat(found)


def read_mlp(spec: DecoderSpec, at: str, weights: Weights, tensor: TensorGroup) -> tuple[Any, Any]:
    """Return gate and up (a column cut) and down (a row cut) of this rank's channels."""
    import torch

    width, hidden = spec.mlp_width, spec.hidden
    channels = tensor.share(width, "channels of the MLP")
    up_channels = slice(width + channels.start, width + channels.stop)
    every = slice(None)
    if spec.experts:
        shape = (spec.experts.count, 2 * width, hidden)
        name = f"{at}mlp.experts.gate_up_proj"
        gate, up = (weights.read(name, shape, every, rows) for rows in (channels, up_channels))
        down_shape = (spec.experts.count, hidden, width)
        down = weights.read(f"{at}mlp.experts.down_proj", down_shape, every, every, channels)
        return torch.cat([gate, up], dim=1), down
    if spec.fused:
        name = f"{at}mlp.gate_up_proj.weight"
        gate, up = (weights.read(name, (2 * width, hidden), rows) for rows in (channels, up_channels))
    else:
        gate = weights.read(f"{at}mlp.gate_proj.weight", (width, hidden), channels)
        up = weights.read(f"{at}mlp.up_proj.weight", (width, hidden), channels)
    return torch.cat([gate, up]), weights.read(f"{at}mlp.down_proj.weight", (hidden, width), every, channels)


def read_rows(spec: DecoderSpec, name: str, weights: Weights, tensor: TensorGroup) -> Any:
    """Return this rank's rows of embedding or head; the last rank's are filled up with zeros."""
    import torch

    rows = tensor.vocabulary(spec.vocabulary)
    found = weights.read(name, (spec.vocabulary, spec.hidden), rows)
    missing = -(-spec.vocabulary // tensor.size) - found.shape[0]
    return torch.nn.functional.pad(found, (0, 0, 0, missing)) if missing else found
