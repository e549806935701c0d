"""How a layer lets tokens see one another, and what it keeps of them while it generates.

Every mixer says what its cache holds: ``cached_values`` for each token (of the last ``window`` tokens, where
it has one) and ``state_values`` for a sequence of any length. ``kind`` is its name in sums and tables.
"""

from dataclasses import dataclass
from typing import NamedTuple

from workshop_utils.errors import WorkshopError


class ConstantState(NamedTuple):
    """A mixer of which only the cache is known, or a layer without any (of a model without a family file)."""

    recurrent_values: int = 0
    other_values: int = 0
    window: None = None

    @property
    def kind(self) -> str:
        return "recurrent" if self.state_values else "cacheless"

    @property
    def cached_values(self) -> int:
        """Values that one token adds: none."""
        return 0

    @property
    def state_values(self) -> int:
        """Values of one sequence of any length."""
        return self.recurrent_values + self.other_values


@dataclass(frozen=True, slots=True)
class Attention:
    """Multi-head attention with grouped key and value heads; it caches K and V of each token.

    ``window`` is the number of tokens that a sliding layer sees, None for a layer that sees all; a layer that
    attends within chunks (Llama 4) keeps at most one chunk and counts as sliding.
    ``keys_are_values``: one projection serves K and V (Gemma 4's full layers); both are still cached.
    ``qk_norm_over_heads``: the norms of Q and K span all heads together, not one head (OLMo 2).
    ``output_gate``: the query projection makes a gate of its own width too (Qwen3-Next).
    ``value_dim`` is the width of a V head where it differs; ``beside`` is what a state space keeps that runs
    beside the attention (Falcon-H1).
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
    output_gate: bool = False
    value_dim: int | None = None
    beside: ConstantState | None = None

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
        return self.kv_heads * (self.head_dim + (self.value_dim or self.head_dim))

    @property
    def state_values(self) -> int:
        """Values that do not grow with the tokens: of a state space beside the attention."""
        return self.beside.state_values if self.beside else 0


class LatentAttention(NamedTuple):
    """Multi-head latent attention (DeepSeek): caches one compressed vector and the rotary key, no V.

    ``index_dim`` is the width of the key by which sparse attention chooses its tokens (DeepSeek-V3.2).
    Source: DeepSeek-V2, https://arxiv.org/abs/2405.04434, section 2.1.
    """

    heads: int
    query_rank: int | None
    kv_rank: int
    rotary_dim: int
    plain_dim: int
    value_dim: int
    bias: bool = False
    index_dim: int = 0
    window: None = None

    @property
    def kind(self) -> str:
        return "latent"

    @property
    def cached_values(self) -> int:
        """Values that one token adds to the KV cache of this layer: the latent and the shared keys."""
        return self.kv_rank + self.rotary_dim + self.index_dim

    @property
    def state_values(self) -> int:
        """Nothing is kept that does not grow with the tokens."""
        return 0


class Mamba2(NamedTuple):
    """Mamba-2 state space layer: a state of fixed size for each sequence, nothing for each token.

    ``heads`` × ``head_dim`` is its inner width; a convolution over ``conv_width`` tokens goes before it.
    Source: Mamba-2, https://arxiv.org/abs/2405.21060, section 7.
    """

    heads: int
    head_dim: int
    state_size: int
    groups: int = 1
    conv_width: int = 4
    conv_bias: bool = True
    bias: bool = False
    window: None = None

    @property
    def kind(self) -> str:
        return "mamba"

    @property
    def cached_values(self) -> int:
        """Values that one token adds: none."""
        return 0

    @property
    def channels(self) -> int:
        """Channels of the convolution: the inner width, and B and C of every group."""
        return self.heads * self.head_dim + 2 * self.groups * self.state_size

    @property
    def recurrent_values(self) -> int:
        """Values of the state of every head; transformers keeps them in float32, whatever the weights."""
        return self.heads * self.head_dim * self.state_size

    @property
    def state_values(self) -> int:
        """Values of one sequence: the state of every head, and what the convolution looks back on."""
        return self.recurrent_values + self.channels * self.conv_width


class GatedDeltaNet(NamedTuple):
    """Linear attention with the gated delta rule (Qwen3-Next): a matrix for each value head and sequence.

    Source: Gated Delta Networks, https://arxiv.org/abs/2412.06464, section 3.
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    conv_width: int = 4
    window: None = None

    @property
    def kind(self) -> str:
        return "linear"

    @property
    def cached_values(self) -> int:
        """Values that one token adds: none."""
        return 0

    @property
    def channels(self) -> int:
        """Channels of the convolution over Q, K and V."""
        return 2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim

    @property
    def recurrent_values(self) -> int:
        """Values of the matrix of every head; transformers keeps them in float32, whatever the weights."""
        return self.value_heads * self.key_dim * self.value_dim

    @property
    def state_values(self) -> int:
        """Values of one sequence: the matrix of every head, and what the convolution looks back on."""
        return self.recurrent_values + self.channels * self.conv_width


Mixer = Attention | LatentAttention | Mamba2 | GatedDeltaNet | ConstantState
