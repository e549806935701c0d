"""The weight tensors of one rank as vLLM creates them: Q, K and V in one, gate and up in one."""

from collections.abc import Iterator
from dataclasses import dataclass

from workshop_utils.memory.vllm.releases import constants
from workshop_utils.memory.vllm.stages import Stage, rank_kv_heads
from workshop_utils.models.architecture import Attention, DenseMlp, Experts, LatentAttention, Layer
from workshop_utils.models.parameters import attention_pieces, expert_pieces, mlp_piece


@dataclass(frozen=True, slots=True)
class Tensor:
    """``rows`` × ``columns`` values of one part, ``copies`` times; a ``matrix`` may be quantised."""

    part: str
    rows: int
    columns: int
    matrix: bool = True
    copies: int = 1

    @property
    def values(self) -> int:
        return self.rows * self.columns


def stage_tensors(stage: Stage) -> Iterator[Tensor]:
    """Yield what stands outside the layers: embedding, head, final norm, image tower, rotary tables."""
    architecture = stage.architecture
    hidden, rows = architecture.hidden_size, stage.rows // stage.ranks
    if stage.first:
        yield Tensor("embedding", rows, hidden, matrix=False)
    if stage.last:
        yield Tensor("norms", 1, hidden, matrix=False)
        # A tied head is the embedding itself, unless they stand on different stages.
        if not architecture.tied_embeddings or not stage.first:
            yield Tensor("head", rows, hidden, matrix=False)
    if architecture.vision and stage.first:
        tower = architecture.vision
        yield Tensor("vision", 1, tower.matrices // stage.ranks, matrix=False)
        yield Tensor("vision", 1, tower.parameters - tower.matrices, matrix=False)
    yield from rotary_tables(stage)


def rotary_tables(stage: Stage) -> Iterator[Tensor]:
    """Yield cosines and sines for every position; vLLM keeps one table for all layers with the same base."""
    architecture = stage.architecture
    rule = constants()["rotary"].get(architecture.model_type, {"factor": 1, "own_table": False})
    widths: dict[bool, int] = {}
    for layer in stage.layers:
        attention = layer.attention
        if isinstance(attention, (Attention, LatentAttention)):
            sliding = attention.window is not None and rule["own_table"]
            widths[sliding] = (
                attention.rotary_dim if isinstance(attention, LatentAttention) else attention.head_dim
            )
    for sliding, width in widths.items():
        length = (architecture.max_positions or 0) * (1 if sliding else rule["factor"])
        yield Tensor("rotary tables", length, width, matrix=False)


def layer_tensors(layer: Layer, stage: Stage) -> Iterator[Tensor]:
    """Yield the tensors of one layer on one tensor rank."""
    hidden, ranks = stage.architecture.hidden_size, stage.ranks
    if layer.counted:
        for piece in layer.counted:
            yield Tensor(piece.part, 1, piece.matrices // ranks)
            yield Tensor(piece.part, 1, piece.others, matrix=False)
        return
    yield from mixer_tensors(layer, hidden, ranks)
    if layer.mlp:
        yield from mlp_tensors("mlp", layer.mlp, hidden, ranks)
    if layer.experts:
        yield from expert_tensors(layer.experts, stage)
    yield Tensor("norms", 1, layer.norms * hidden, matrix=False)


def mixer_tensors(layer: Layer, hidden: int, ranks: int) -> Iterator[Tensor]:
    """Yield what mixes tokens; biases and norms inside it are small and taken as whole."""
    mixer = layer.attention
    if isinstance(mixer, Attention):
        width = mixer.value_dim or mixer.head_dim
        heads, kv_heads = mixer.heads // ranks, rank_kv_heads(mixer, ranks)
        gate = heads * width if mixer.output_gate else 0
        incoming = heads * mixer.head_dim + gate + kv_heads * mixer.head_dim
        yield Tensor("attention", incoming + (0 if mixer.keys_are_values else kv_heads * width), hidden)
        yield Tensor("attention", hidden, heads * width)
    elif isinstance(mixer, LatentAttention):
        yield from latent_tensors(mixer, hidden, ranks)
    else:
        for piece in attention_pieces(mixer, hidden):
            yield Tensor(piece.part, 1, piece.matrices // ranks)
    for piece in attention_pieces(mixer, hidden):
        yield Tensor(piece.part, 1, piece.others, matrix=False)


def latent_tensors(mixer: LatentAttention, hidden: int, ranks: int) -> Iterator[Tensor]:
    """Yield the projections of latent attention: those down to the latents stand on every rank."""
    heads = mixer.heads // ranks
    query = heads * (mixer.plain_dim + mixer.rotary_dim)
    down = mixer.kv_rank + mixer.rotary_dim
    if mixer.query_rank:
        yield Tensor("attention", mixer.query_rank + down, hidden)
        yield Tensor("attention", query, mixer.query_rank)
    else:
        yield Tensor("attention", query, hidden)
        yield Tensor("attention", down, hidden)
    yield Tensor("attention", heads * (mixer.plain_dim + mixer.value_dim), mixer.kv_rank)
    yield Tensor("attention", hidden, heads * mixer.value_dim)


def mlp_tensors(part: str, mlp: DenseMlp, hidden: int, ranks: int) -> Iterator[Tensor]:
    """Yield gate and up as one, and down."""
    width = mlp.width // ranks
    yield Tensor(part, (2 if mlp.gated else 1) * width, hidden)
    yield Tensor(part, hidden, width)
    if others := mlp_piece(mlp, hidden).others:
        yield Tensor(part, 1, others, matrix=False)


def expert_tensors(experts: Experts, stage: Stage) -> Iterator[Tensor]:
    """Yield the routed experts in two tensors; the shared ones; the router.

    All routed ones cut by their width, or this rank's ones whole. Shared ones are cut like an MLP, but stand
    whole on each rank where engines share the experts: the tokens are then cut over the tensor ranks instead
    (``use_sequence_parallel_moe`` in vllm/config/parallel.py, ``disable_tp`` in models/deepseek_v2.py; 0.26).
    """
    hidden, spread = stage.architecture.hidden_size, stage.spread
    width = experts.width if spread else experts.width // stage.ranks
    held = spread.held(experts) if spread else experts.routed
    yield Tensor("experts", held * 2 * width, hidden)
    yield Tensor("experts", held * hidden, width)
    if experts.shared:
        shared = DenseMlp(experts.shared * (experts.shared_width or experts.width))
        yield from mlp_tensors("shared_experts", shared, hidden, stage.shared_expert_ranks)
    for piece in expert_pieces(experts, hidden):
        # Biases go with their expert.
        others = piece.others * held // experts.routed if piece.part == "experts" else piece.others
        yield Tensor(piece.part, 1, others, matrix=False)
