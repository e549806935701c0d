"""The weight matrices inside a layer, one by one: what quantised formats shrink, and need the shape of."""

from collections.abc import Iterator
from typing import NamedTuple

from workshop_utils.models.architecture import (
    Attention,
    ConstantState,
    DenseMlp,
    Experts,
    GatedDeltaNet,
    LatentAttention,
    Layer,
    Mamba2,
    Mixer,
    VisionTower,
)


class Matrix(NamedTuple):
    """``copies`` matrices of ``rows`` outputs × ``columns`` inputs, of one part of the model.

    ``role`` is what a format may treat apart: embedding, head, k, v, qkv, output or down; else empty.
    ``shape_known`` is False where only the number of values is.
    """

    part: str
    rows: int
    columns: int
    role: str = ""
    copies: int = 1
    shape_known: bool = True

    @property
    def values(self) -> int:
        return self.rows * self.columns * self.copies


# Model types with one matrix for Q, K and V, and one for gate and up.
FUSED = frozenset({"phi3"})


def layer_matrices(layer: Layer, hidden: int, fused: bool = False) -> Iterator[Matrix]:
    """Yield the matrices of one layer, or of one rank's share of it.

    Their values add up to the ``matrices`` of ``parameters.layer_pieces``.
    """
    if layer.counted:
        yield from (counted_matrix(piece.part, piece.matrices, hidden) for piece in layer.counted)
        return
    yield from mixer_matrices(layer.attention, hidden, fused)
    if layer.cross_attention:
        yield from mixer_matrices(layer.cross_attention, hidden)
    if layer.mlp:
        yield from mlp_matrices("mlp", layer.mlp, hidden, fused=fused)
    if layer.experts:
        yield from expert_matrices(layer.experts, hidden)


def counted_matrix(part: str, values: int, hidden: int) -> Matrix:
    """Return matrices of which only the number of values is known, as if all read the hidden width."""
    rows, rest = divmod(values, hidden)
    return Matrix(part, 1 if rest else rows, values if rest else hidden, shape_known=False)


def vision_matrix(tower: VisionTower) -> Matrix:
    """Return the matrices of the image tower's blocks."""
    return counted_matrix("vision", tower.matrices, tower.hidden_size)


def mixer_matrices(mixer: Mixer, hidden: int, fused: bool = False) -> Iterator[Matrix]:
    """Yield the projections of what mixes tokens."""
    match mixer:
        case Attention():
            yield from attention_matrices(mixer, hidden, fused)
        case LatentAttention():
            yield from latent_matrices(mixer, hidden)
        case Mamba2():
            inner = mixer.heads * mixer.head_dim
            yield Matrix("attention", inner + mixer.channels + mixer.heads, hidden)
            yield Matrix("attention", hidden, inner)
        case GatedDeltaNet():
            value = mixer.value_heads * mixer.value_dim
            yield Matrix("attention", mixer.channels + value, hidden)
            yield Matrix("attention", 2 * mixer.value_heads, hidden)
            yield Matrix("attention", hidden, value)
        case ConstantState():
            return


def attention_matrices(attention: Attention, hidden: int, fused: bool) -> Iterator[Matrix]:
    """Yield the projections of Q (with its gate), K, V and the output."""
    query = attention.heads * attention.head_dim
    key = attention.kv_heads * attention.head_dim
    if fused:
        yield Matrix("attention", query + 2 * key, hidden, "qkv")
    else:
        yield Matrix("attention", query * (2 if attention.output_gate else 1), hidden)
        yield Matrix("attention", key, hidden, "k")
        if not attention.keys_are_values:
            yield Matrix("attention", key, hidden, "v")
    yield Matrix("attention", hidden, query, "output")


def latent_matrices(attention: LatentAttention, hidden: int) -> Iterator[Matrix]:
    """Yield the projections down to the latents and up to the heads."""
    query = attention.heads * (attention.plain_dim + attention.rotary_dim)
    if attention.query_rank:
        yield Matrix("attention", attention.query_rank, hidden)
        yield Matrix("attention", query, attention.query_rank)
    else:
        yield Matrix("attention", query, hidden)
    yield Matrix("attention", attention.kv_rank + attention.rotary_dim, hidden)
    up = attention.heads * (attention.plain_dim + attention.value_dim)
    yield Matrix("attention", up, attention.kv_rank)
    yield Matrix("attention", hidden, attention.heads * attention.value_dim, "output")


def mlp_matrices(
    part: str, mlp: DenseMlp, hidden: int, copies: int = 1, fused: bool = False
) -> Iterator[Matrix]:
    """Yield up (and its gate, of the same shape) and down."""
    incoming = 2 if mlp.gated else 1
    if fused:
        yield Matrix(part, incoming * mlp.width, hidden, copies=copies)
    else:
        yield Matrix(part, mlp.width, hidden, copies=incoming * copies)
    yield Matrix(part, hidden, mlp.width, "down", copies)


def expert_matrices(experts: Experts, hidden: int) -> Iterator[Matrix]:
    """Yield the routed experts and the shared ones."""
    yield from mlp_matrices("experts", DenseMlp(experts.width), hidden, experts.routed)
    if experts.shared:
        shared = DenseMlp(experts.shared_width or experts.width)
        yield from mlp_matrices("shared_experts", shared, hidden, experts.shared)
