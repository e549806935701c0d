"""Exact parameter counts, by part: the sum over the tensors that transformers builds, tied weights once.

Checked against models built by transformers on torch's meta device (``tests/models/test_meta_device.py``).
"""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from workshop_utils.models.architecture import (
    Architecture,
    Attention,
    ConstantState,
    DenseMlp,
    Experts,
    GatedDeltaNet,
    LatentAttention,
    Layer,
    Mamba2,
    Mixer,
    Piece,
)

PARTS = (
    "embedding", "attention", "mlp", "experts", "shared_experts", "router", "norms", "head", "vision",
    "other",
)  # fmt: skip


class ParameterCounts(NamedTuple):
    """Parameters of a model.

    ``by_part``: parts that the model has, in the order of ``PARTS``; a tied head counts as embedding, so do
    tables of positions, and whatever mixes tokens (Mamba, linear attention, cross-attention) as attention.
    ``quantizable``: of those, the weight matrices inside the layers and the image tower's blocks, which
    quantised formats store in fewer bits; biases, norms, router, embedding and head stay as they are.
    ``active``: what one token passes through: all but the experts that its router leaves out.
    """

    by_part: dict[str, int]
    quantizable: dict[str, int]
    active: int

    @property
    def total(self) -> int:
        return sum(self.by_part.values())


@lru_cache(maxsize=256)
def count_parameters(architecture: Architecture) -> ParameterCounts:
    """Return exact parameter counts of the whole model, image tower included."""
    totals: Counter[str] = Counter()
    quantizable: Counter[str] = Counter()
    idle = 0
    for layer, copies in Counter(architecture.layers + architecture.encoder).items():
        pieces = tuple(layer_pieces(layer, architecture.hidden_size))
        for piece in pieces:
            totals[piece.part] += copies * (piece.matrices + piece.others)
            quantizable[piece.part] += copies * piece.matrices
        if layer.experts:
            experts = sum(piece.matrices + piece.others for piece in pieces if piece.part == "experts")
            share = layer.experts.routed - layer.experts.active
            idle += copies * experts * share // layer.experts.routed
    for piece in architecture.counted or outer_pieces(architecture):
        totals[piece.part] += piece.matrices + piece.others
        quantizable[piece.part] += piece.matrices
    by_part = {part: totals[part] for part in PARTS if totals[part]}
    return ParameterCounts(
        by_part=by_part,
        quantizable={part: quantizable[part] for part in PARTS if quantizable[part]},
        active=sum(by_part.values()) - idle,
    )


def outer_pieces(architecture: Architecture) -> Iterator[Piece]:
    """Yield what stands outside the layers: embedding, head, final norms, image tower."""
    embedding = architecture.vocabulary_size * architecture.hidden_size
    yield Piece("embedding", others=embedding + architecture.position_values)
    # The final norm, and the encoder's.
    yield Piece("norms", others=architecture.hidden_size * (2 if architecture.encoder else 1))
    yield Piece("head", others=0 if architecture.tied_embeddings else embedding)
    if architecture.vision:
        tower = architecture.vision
        yield Piece("vision", matrices=tower.matrices, others=tower.parameters - tower.matrices)


def layer_pieces(layer: Layer, hidden: int) -> Iterator[Piece]:
    """Yield the parameters of one layer."""
    if layer.counted:
        yield from layer.counted
        return
    yield from attention_pieces(layer.attention, hidden)
    if layer.cross_attention:
        yield from attention_pieces(layer.cross_attention, hidden)
    if layer.mlp:
        yield mlp_piece(layer.mlp, hidden)
    if layer.experts:
        yield from expert_pieces(layer.experts, hidden)
    yield Piece("norms", others=layer.norms * hidden)


def attention_pieces(attention: Mixer, hidden: int) -> tuple[Piece, ...]:
    """Return projections with biases, and the norms inside the mixer."""
    match attention:
        case Attention():
            return grouped_attention_pieces(attention, hidden)
        case LatentAttention():
            return latent_attention_pieces(attention, hidden)
        case Mamba2():
            return mamba_pieces(attention, hidden)
        case GatedDeltaNet():
            return delta_net_pieces(attention, hidden)
        case ConstantState():  # its layer's parameters were counted, not derived
            return ()


def grouped_attention_pieces(attention: Attention, hidden: int) -> tuple[Piece, ...]:
    """Return the projections of Q, K, V and the output, and what goes with them."""
    query = attention.heads * attention.head_dim
    key = attention.kv_heads * attention.head_dim
    incoming = query * (2 if attention.output_gate else 1) + (key if attention.keys_are_values else 2 * key)
    biases = (incoming if attention.qkv_bias else 0) + (hidden if attention.output_bias else 0)
    sinks = attention.heads if attention.sinks else 0
    normed = query + key if attention.qk_norm_over_heads else 2 * attention.head_dim
    return (
        Piece("attention", matrices=hidden * incoming + query * hidden, others=biases + sinks),
        Piece("norms", others=normed if attention.qk_norm else 0),
    )


def latent_attention_pieces(attention: LatentAttention, hidden: int) -> tuple[Piece, ...]:
    """Return the low-rank projections of multi-head latent attention, and the norms between them."""
    query_width = attention.heads * (attention.plain_dim + attention.rotary_dim)
    rank = attention.query_rank
    query = rank * (hidden + query_width) if rank else hidden * query_width
    down = hidden * (attention.kv_rank + attention.rotary_dim)
    up = attention.kv_rank * attention.heads * (attention.plain_dim + attention.value_dim)
    output = attention.heads * attention.value_dim * hidden
    # With biases: on the two projections down, and on the output.
    biases = (rank or 0) + attention.kv_rank + attention.rotary_dim + hidden if attention.bias else 0
    return (
        Piece("attention", matrices=query + down + up + output, others=biases),
        Piece("norms", others=(rank or 0) + attention.kv_rank),
    )


def mamba_pieces(mamba: Mamba2, hidden: int) -> tuple[Piece, ...]:
    """Return the projections in and out, the convolution, A, D and the time step of heads, the norm."""
    inner = mamba.heads * mamba.head_dim
    incoming = inner + mamba.channels + mamba.heads
    biases = incoming + hidden if mamba.bias else 0
    convolution = mamba.channels * (mamba.conv_width + (1 if mamba.conv_bias else 0))
    return (
        Piece(
            "attention", matrices=hidden * (incoming + inner), others=biases + convolution + 3 * mamba.heads
        ),
        Piece("norms", others=inner),
    )


def delta_net_pieces(net: GatedDeltaNet, hidden: int) -> tuple[Piece, ...]:
    """Return the projections of Q, K, V, gate, decay and output, the convolution, and the norm of a head."""
    value = net.value_heads * net.value_dim
    incoming = net.channels + value + 2 * net.value_heads
    convolution = net.channels * net.conv_width
    return (
        Piece("attention", matrices=hidden * (incoming + value), others=convolution + 2 * net.value_heads),
        Piece("norms", others=net.value_dim),
    )


def mlp_piece(mlp: DenseMlp, hidden: int) -> Piece:
    """Return the projections up (with its gate) and down."""
    up = (2 if mlp.gated else 1) * mlp.width
    return Piece("mlp", matrices=hidden * (up + mlp.width), others=up + hidden if mlp.bias else 0)


def expert_pieces(experts: Experts, hidden: int) -> tuple[Piece, ...]:
    """Return the routed experts first, then the shared ones and the router."""
    matrices = 3 * hidden * experts.width
    biases = 2 * experts.width + hidden if experts.bias else 0
    shared = 3 * hidden * (experts.shared_width or experts.width)
    return (
        Piece("experts", matrices=experts.routed * matrices, others=experts.routed * biases),
        Piece("shared_experts", matrices=experts.shared * shared),
        Piece("router", others=hidden * experts.routed + experts.router_extra),
    )
