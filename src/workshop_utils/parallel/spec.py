"""What a decoder computes, read from transformers' own config and modules: one description for all families.

The families differ in a few places only: how Q, K and V are stored, norms of Q and K, norms behind attention
and MLP, windows, experts. A type that is not listed here runs with plain transformers alone.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.shape_twin import build_skeleton

Activation = Literal["silu", "gelu_tanh"]
# Whose equality with transformers the tests hold, on tiny twins of each.
FAMILIES = (
    "gemma3", "gemma3_text", "llama", "mistral", "mixtral", "phi3", "qwen2", "qwen3", "qwen3_moe",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExpertsSpec:
    """A token passes ``active`` of ``count`` gated MLPs; ``normalised``: their weights sum to one."""

    count: int
    active: int
    normalised: bool


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """``window``: tokens that the layer attends to, None for all. ``rotary`` names its table of positions."""

    window: int | None
    rotary: str


@dataclass(frozen=True, slots=True)
class DecoderSpec:
    """The text decoder of a model; widths in values.

    ``config`` and ``rotary`` (a class) are transformers' own.

    ``scale`` multiplies the attention's scores. ``norm_offset`` is added to every norm's weight, and then the
    product is taken in float32 (Gemma). ``sandwich_norms``: what attention and MLP give is normed too.
    ``mlp_width`` is that of an expert where there are ``experts``. ``fused`` checkpoints keep Q, K, V in one
    matrix, and gate and up in another.
    """

    model: str
    model_type: str
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    activation: Activation
    eps: float
    scale: float
    max_positions: int
    layers: tuple[LayerSpec, ...]
    tied: bool
    fused: bool
    qkv_bias: bool
    qk_norm: bool
    sandwich_norms: bool
    norm_offset: float
    embedding_scale: float | None
    experts: ExpertsSpec | None
    config: Any = field(compare=False, repr=False)
    rotary: Any = field(compare=False, repr=False)

    @property
    def layer_values(self) -> int:
        """Values of the matrices of one layer, as a stage reads them for every token; all experts."""
        heads = (2 * self.heads + 2 * self.kv_heads) * self.head_dim
        return self.hidden * (heads + 3 * self.mlp_width * (self.experts.count if self.experts else 1))


def read_spec(model: str, layers: int | None = None) -> DecoderSpec:
    """Return the decoder of a catalogue name, model folder or config.json, or of its first ``layers`` layers.

    Raises WorkshopError for a family that is not among ``FAMILIES``.
    """
    skeleton = build_skeleton(model, layers=layers)
    if skeleton.config.model_type not in FAMILIES:
        raise WorkshopError(
            f"{model} is a {skeleton.config.model_type} model, which these strategies do not split; choose "
            f"one of {', '.join(FAMILIES)}, or --strategy plain."
        )
    config, decoder = skeleton.config.get_text_config(), skeleton.get_decoder()
    return DecoderSpec(
        model=model,
        model_type=skeleton.config.model_type,
        hidden=config.hidden_size,
        vocabulary=config.vocab_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        max_positions=config.max_position_embeddings,
        eps=config.rms_norm_eps,
        activation=activation_of(config),
        tied=bool(config.tie_word_embeddings),
        layers=tuple(layer_spec(config, layer) for layer in decoder.layers),
        norm_offset=1.0 if config.model_type.startswith("gemma") else 0.0,
        embedding_scale=getattr(decoder.embed_tokens, "scalar_embed_scale", None),
        config=config,
        rotary=type(decoder.rotary_emb),
        **parts_of(decoder.layers[0], config),
    )


def parts_of(layer: Any, config: Any) -> dict[str, Any]:
    """Return what the modules of a layer say: how its weights are stored, and which norms it has."""
    attention, mlp = layer.self_attn, layer.mlp
    fused = hasattr(attention, "qkv_proj")
    projection = attention.qkv_proj if fused else attention.q_proj
    experts = getattr(mlp, "experts", None)
    found = None
    if experts is not None:
        normalised = bool(getattr(mlp.gate, "norm_topk_prob", True))
        found = ExpertsSpec(mlp.gate.num_experts, mlp.gate.top_k, normalised)
    return {
        "head_dim": attention.head_dim,
        "scale": float(attention.scaling),
        "mlp_width": config.intermediate_size if experts is None else experts.down_proj.shape[-1],
        "fused": fused,
        "qkv_bias": projection.bias is not None,
        "qk_norm": hasattr(attention, "q_norm"),
        "sandwich_norms": hasattr(layer, "post_feedforward_layernorm"),
        "experts": found,
    }


def activation_of(config: Any) -> Activation:
    """Return silu or gelu_tanh; WorkshopError for any other."""
    name = getattr(config, "hidden_activation", None) or config.hidden_act
    names: dict[str, Activation] = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
    if name not in names:
        raise WorkshopError(f"the activation {name} is not one of {', '.join(names)}; use --strategy plain.")
    return names[name]


def layer_spec(config: Any, layer: Any) -> LayerSpec:
    """Return window and table of a layer."""
    of_model = getattr(config, "sliding_window", None)
    window = getattr(layer.self_attn, "sliding_window", of_model)
    own_tables = config.model_type.startswith("gemma3")
    return LayerSpec(window, layer.self_attn.layer_type if own_tables else "")


def rotary_tables(spec: DecoderSpec, positions: int, device: str) -> dict[str, tuple[Any, Any]]:
    """Return cosines and sines of each table, (positions, rotary width / 2) in float32.

    They come from the model's own rotary module in transformers, scaling for long contexts included.
    """
    import torch

    rotary = spec.rotary(spec.config)
    ids = torch.arange(positions)[None]
    found = {}
    for table in {layer.rotary for layer in spec.layers}:
        cosines, sines = rotary(torch.zeros(1), ids, *((table,) if table else ()))
        half = cosines.shape[-1] // 2
        found[table] = tuple(one[0, :, :half].contiguous().to(device) for one in (cosines, sines))
    return found
