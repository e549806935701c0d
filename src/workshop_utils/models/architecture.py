"""What a model is, as pure data: enough to count every parameter and every byte of its KV cache.

An ``Architecture`` is a tuple of layers, each made of one attention and one or two MLP parts. Widths are
numbers of values; nothing here knows about precision, memory or a GPU.
"""

from collections import Counter
from dataclasses import dataclass

from workshop_utils.errors import WorkshopError


@dataclass(frozen=True, slots=True)
class Attention:
    """Multi-head attention with grouped key and value heads; it caches K and V of each token.

    ``window`` is the number of tokens that a sliding layer sees, None for a layer that sees all.
    ``keys_are_values``: one projection serves K and V (Gemma 4's full layers); both are still cached.
    ``qk_norm_over_heads``: the norms of Q and K span all heads together, not one head (OLMo 2).
    """

    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: bool = False
    sinks: bool = False
    keys_are_values: bool = False
    qk_norm_over_heads: bool = False

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise WorkshopError(
                f"num_key_value_heads {self.kv_heads} does not divide num_attention_heads {self.heads}; "
                "correct one of them in config.json."
            )

    @property
    def kind(self) -> str:
        return "full" if self.window is None else "sliding"

    @property
    def cached_values(self) -> int:
        """Values that one token adds to the KV cache of this layer: K and V of every KV head."""
        return self.kv_heads * (self.head_dim + self.head_dim)


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek): caches one compressed vector and the rotary key, no V.

    Source: DeepSeek-V2, https://arxiv.org/abs/2405.04434, section 2.1.
    """

    heads: int
    query_rank: int | None
    kv_rank: int
    rotary_dim: int
    plain_dim: int
    value_dim: int
    bias: bool = False
    window: None = None

    @property
    def kind(self) -> str:
        return "latent"

    @property
    def cached_values(self) -> int:
        """Values that one token adds to the KV cache of this layer: the latent and the shared rotary key."""
        return self.kv_rank + self.rotary_dim


@dataclass(frozen=True, slots=True)
class DenseMlp:
    """Gated MLP: gate, up and down projections of ``width``."""

    width: int
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Experts:
    """A token passes ``active`` of ``routed`` gated MLPs of ``width``, and every ``shared`` one.

    ``router_extra`` counts what a router has beside its ``hidden × routed`` matrix (biases, scales).
    """

    routed: int
    active: int
    width: int
    shared: int = 0
    bias: bool = False
    router_extra: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer. Gemma 4 runs a dense MLP and experts side by side; other families have one of them.

    ``norms`` counts the layer's norm vectors of the hidden width.
    """

    attention: Attention | LatentAttention
    mlp: DenseMlp | None = None
    experts: Experts | None = None
    norms: int = 2


@dataclass(frozen=True, slots=True)
class VisionTower:
    """The image encoder with its projector into the text model; it loads with the weights.

    ``matrices``: of its ``parameters``, those in the linear layers of its blocks.
    """

    model_type: str
    layers: int
    hidden_size: int
    patch_size: int
    parameters: int
    matrices: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model's shape. ``dtype`` and ``stored_as`` are what config.json says of the published weights."""

    name: str
    model_type: str
    hidden_size: int
    vocabulary_size: int
    layers: tuple[Layer, ...]
    tied_embeddings: bool
    max_positions: int | None = None
    dtype: str | None = None
    stored_as: str | None = None
    vision: VisionTower | None = None

    @property
    def layer_kinds(self) -> dict[str, int]:
        """Number of layers by attention kind, for example ``{"sliding": 52, "full": 10}``."""
        return dict(Counter(layer.attention.kind for layer in self.layers))
