"""What a model is, as pure data: enough to count every parameter and every byte of its KV cache.

An ``Architecture`` is a tuple of layers, each made of one mixer (``mixers.py``) and one or two MLP parts.
Widths are numbers of values; nothing here knows about precision, memory or a GPU.
"""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from workshop_utils.models.mixers import (
    Attention,
    ConstantState,
    GatedDeltaNet,
    LatentAttention,
    Mamba2,
    Mixer,
)

__all__ = [
    "Architecture", "Attention", "ConstantState", "DenseMlp", "Experts", "GatedDeltaNet", "LatentAttention",
    "Layer", "Mamba2", "Mixer", "Piece", "VisionTower",
]  # fmt: skip


class Piece(NamedTuple):
    """Some parameters of one part: its weight ``matrices``, and ``others`` such as biases and norms."""

    part: str
    matrices: int = 0
    others: int = 0


class DenseMlp(NamedTuple):
    """MLP of ``width``: up and down projections, and a gate beside up where it is ``gated``."""

    width: int
    bias: bool = False
    gated: bool = True


class Experts(NamedTuple):
    """A token passes ``active`` of ``routed`` gated MLPs of ``width``, and every ``shared`` one.

    ``shared_width`` is the width of a shared one where it differs.
    ``router_extra`` counts what a router has beside its ``hidden × routed`` matrix (biases, scales).
    """

    routed: int
    active: int
    width: int
    shared: int = 0
    bias: bool = False
    router_extra: int = 0
    shared_width: int | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. Gemma 4 runs a dense MLP and experts side by side; other families have one of them.

    ``attention`` is the layer's mixer, in a hybrid model a state space or linear one in some layers.
    ``norms`` counts the layer's norm vectors of the hidden width; a LayerNorm with bias has two.
    ``cross_attention`` looks at an encoder's output and caches its K and V once, over the encoder's length.
    ``counted`` are its parameters where they were counted on a built layer; they go before every formula.
    """

    attention: Mixer
    mlp: DenseMlp | None = None
    experts: Experts | None = None
    norms: int = 2
    cross_attention: Attention | None = None
    counted: tuple[Piece, ...] = ()


class VisionTower(NamedTuple):
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
    """A model's shape. ``dtype`` and ``stored_as`` are what config.json says of the published weights.

    ``layers`` are those that generate, the decoder's; ``encoder`` are the layers of an encoder-decoder that
    read the input, with a final norm of their own. ``position_values`` counts learned positions.
    ``counted`` is what a built model has outside its layers, image tower included, in place of formulas.
    """

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
    encoder: tuple[Layer, ...] = ()
    position_values: int = 0
    counted: tuple[Piece, ...] = ()

    def __hash__(self) -> int:
        """Return a quick hash: an architecture is a key of many caches, and has up to a hundred layers."""
        return hash((self.name, self.model_type, self.hidden_size, len(self.layers)))

    @property
    def layer_kinds(self) -> dict[str, int]:
        """Number of generating layers by kind of mixer, for example ``{"sliding": 52, "full": 10}``."""
        return dict(Counter(layer.attention.kind for layer in self.layers))
