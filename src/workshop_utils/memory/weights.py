"""Bytes of the weights on one rank, one term for each part of the model."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.block_layout import BlockLayout
from workshop_utils.memory.gguf_types import Place
from workshop_utils.memory.matrices import FUSED, Matrix, layer_matrices, vision_matrix
from workshop_utils.memory.precisions import LAYER_MATRICES, Precision, find_precision
from workshop_utils.memory.sharding import Shard
from workshop_utils.memory.term import Term
from workshop_utils.models.architecture import Architecture, Attention, Layer
from workshop_utils.models.parameters import PARTS, layer_pieces

# T5's class asks for its down projections (``wo``) in full width; bitsandbytes leaves them
# (``_keep_in_fp32_modules``, transformers 5.17).
KEPT_ROLES = {"t5": "down"}
SUM = "sum over the tensors that transformers builds"


@dataclass(slots=True)
class Quantised:
    """The matrices of one part that share a layout: their weights, and bytes with and without scales."""

    weights: int = 0
    value_bytes: int = 0
    scale_bytes: int = 0


@dataclass(slots=True)
class PartSize:
    """What one part stores: ``plain`` parameters in full width, and the quantised ones by layout."""

    plain: int = 0
    quantised: dict[BlockLayout, Quantised] = field(default_factory=dict)
    certain: bool = True

    def add(self, matrix: Matrix, copies: int, layout: BlockLayout | None) -> None:
        """Count a matrix, ``copies`` times over."""
        if layout is None:
            self.plain += copies * matrix.values
            return
        count = copies * matrix.copies
        entry = self.quantised.setdefault(layout, Quantised())
        entry.weights += copies * matrix.values
        entry.value_bytes += count * layout.value_bytes(matrix.rows, matrix.columns)
        entry.scale_bytes += count * layout.scale_bytes(matrix.rows, matrix.columns)
        self.certain &= matrix.shape_known or layout.flat


@lru_cache(maxsize=1024)
def weight_terms(shard: Shard, dtype: str) -> tuple[Term, ...]:
    """Return the weights of one rank in ``dtype``, image tower included, a term for each part that it has.

    A quantised format shrinks the matrices of its ``parts``; biases, norms, router and whatever else it
    leaves stand in the same term, in full width, and its formula says so. Raises WorkshopError for an unknown
    format and for one with nothing to shrink in the whole model.
    """
    precision = find_precision(dtype)
    check_shrinks(shard.architecture, precision)
    sizes: defaultdict[str, PartSize] = defaultdict(PartSize)
    outer_sizes(shard, precision, sizes)
    layer_sizes(shard, precision, sizes)
    return tuple(
        weight_term(part, sizes[part], precision)
        for part in PARTS
        if sizes[part].plain or sizes[part].quantised
    )


def check_shrinks(architecture: Architecture, precision: Precision) -> None:
    """Raise WorkshopError where a format has nothing to shrink."""
    if precision.parts == frozenset({"experts"}) and not any(layer.experts for layer in architecture.layers):
        raise WorkshopError(
            f"{precision.name} stores only experts in fewer bits, and {architecture.name} has none; choose "
            "nf4 or int8."
        )


def outer_sizes(shard: Shard, precision: Precision, sizes: defaultdict[str, PartSize]) -> None:
    """Add what stands outside the layers: embedding, head, final norms, image tower."""
    hidden, tied = shard.hidden_size, shard.architecture.tied_embeddings
    for part, rows in (("embedding", shard.embedding_rows), ("head", shard.head_rows)):
        if rows:
            matrix = Matrix(part, rows, hidden, "head" if tied else part)
            sizes[part].add(matrix, 1, precision.layout_of(matrix, Place()))
    sizes["embedding"].plain += shard.position_values
    # The final norm, and the encoder's; of a built model both are among what was counted outside its layers.
    own_encoder = bool(shard.encoder) and not shard.architecture.counted
    sizes["norms"].plain += hidden * (shard.final_norm + own_encoder)
    if tower := shard.vision:
        matrix = vision_matrix(tower)
        sizes["vision"].add(matrix, 1, precision.layout_of(matrix, Place()))
        sizes["vision"].plain += tower.parameters - tower.matrices
    for piece in shard.outside:
        matrix = Matrix(piece.part, 1, piece.matrices, shape_known=False)
        sizes[piece.part].add(matrix, 1, precision.layout_of(matrix, Place()) if piece.matrices else None)
        sizes[piece.part].plain += piece.others


def layer_sizes(shard: Shard, precision: Precision, sizes: defaultdict[str, PartSize]) -> None:
    """Add the layers, equal ones together."""
    model_type = shard.architecture.model_type
    fused, kept = model_type in FUSED, KEPT_ROLES.get(model_type) if precision.keeps else None
    for (layer, place), copies in placed_layers(shard, precision).items():
        for piece in layer_pieces(layer, shard.hidden_size):
            sizes[piece.part].plain += copies * piece.others
        for matrix in layer_matrices(layer, shard.hidden_size, fused):
            layout = None if kept and matrix.role == kept else precision.layout_of(matrix, place)
            sizes[matrix.part].add(matrix, copies, layout)
            # The rule of GGUF files was held against files of plain attention only.
            if precision.gguf and not isinstance(layer.attention, Attention):
                sizes[matrix.part].certain = False


def placed_layers(shard: Shard, precision: Precision) -> Counter[tuple[Layer, Place]]:
    """Return how often each layer occurs at each place; only GGUF files treat places apart."""
    here = Place()
    if not precision.gguf:
        return Counter((layer, here) for layer in shard.layers + shard.encoder)
    layers = len(shard.architecture.layers)
    numbered = Counter(
        (layer, place_of(layer, shard.first_layer + index, layers))
        for index, layer in enumerate(shard.layers)
    )
    return numbered + Counter(
        (layer, place_of(layer, index, layers)) for index, layer in enumerate(shard.encoder)
    )


def place_of(layer: Layer, number: int, layers: int) -> Place:
    """Return what a GGUF file's types depend on."""
    mixer = layer.attention
    grouped = mixer.heads // mixer.kv_heads if isinstance(mixer, Attention) else 1
    return Place(number, layers, layer.experts.routed if layer.experts else 0, grouped)


def weight_term(part: str, size: PartSize, precision: Precision) -> Term:
    """Return the term of one part: quantised weights with their scales, and what stays in full width."""
    rest_bits = precision.rest_bits_of(part)
    stored = sum(entry.value_bytes + entry.scale_bytes for entry in size.quantised.values())
    known = precision.certainty if size.certain else "assumed"
    return Term(
        name=f"weights: {part.replace('_', ' ')}",
        kind="weights",
        bytes=stored + size.plain * rest_bits // 8,
        formula=" + ".join(formula_parts(part, size, precision)),
        source=precision.source if size.quantised else SUM,
        certainty=known if size.quantised else "exact",
    )


def formula_parts(part: str, size: PartSize, precision: Precision) -> Iterator[str]:
    """Yield the summands of a term in words."""
    for layout, entry in size.quantised.items():
        label = f" as {layout.name}" if layout.name else ""
        bits = f"{layout.bits_per_weight:g}"
        if (entry.value_bytes + entry.scale_bytes) * 8 == entry.weights * float(bits):
            note = f" ({precision.scales})" if precision.scales else ""
            yield f"{entry.weights:,} weights{label} × {bits} bits{note}"
        else:
            yield f"{entry.weights:,} weights{label} × {layout.bits} bits"
            yield f"{entry.scale_bytes:,} bytes of scales ({precision.scales})"
    if size.plain:
        left = precision.parts is not None and part in LAYER_MATRICES - precision.parts
        why = f" ({precision.keeps or 'left as it is'})" if left else ""
        yield f"{size.plain:,} parameters × {precision.rest_bits_of(part) // 8} bytes{why}"
