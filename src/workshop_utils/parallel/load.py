"""Make one rank's share of a decoder."""

from typing import Any

from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.layer_weights import read_layer, read_rows
from workshop_utils.parallel.spec import DecoderSpec, rotary_tables
from workshop_utils.parallel.tensor import ALONE, TensorGroup
from workshop_utils.parallel.weights import Weights


def load_decoder(  # noqa: PLR0913 - what is loaded, which part of it, and to where
    spec: DecoderSpec,
    weights: Weights,
    *,
    layers: range | None = None,
    tensor: TensorGroup = ALONE,
    room: int,
    device: str,
    dtype: Any,
) -> Decoder:
    """Return the decoder's ``layers`` (default all) on ``device``.

    The first layer brings the embedding along, the last one the final norm and the head. ``room``: positions
    that the rotary tables need. Raises WorkshopError for a checkpoint that is incomplete or unreadable.
    """
    layers = range(len(spec.layers)) if layers is None else layers
    first, last = layers.start == 0, layers.stop == len(spec.layers)
    embedding = read_rows(spec, "embed_tokens.weight", weights, tensor) if first else None
    head = None
    if last:
        tied_here = spec.tied and first
        name = "embed_tokens.weight" if spec.tied else "lm_head.weight"
        head = embedding if tied_here else read_rows(spec, name, weights, tensor)
    tables = rotary_tables(spec, room, device)
    return Decoder(
        spec=spec,
        tensor=tensor,
        first=layers.start,
        layers=[read_layer(spec, number, weights, tensor) for number in layers],
        embedding=embedding,
        final_norm=weights.read("norm.weight", (spec.hidden,)) if last else None,
        head=head,
        tables={name: (c.to(dtype), s.to(dtype)) for name, (c, s) in tables.items()},
        device=device,
        dtype=dtype,
    )
