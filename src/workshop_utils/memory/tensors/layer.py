"""One decoder layer: attention and MLP, each with its norms and the sum with what came in."""

from typing import NamedTuple

from workshop_utils.memory.tensors.attention import NO_TENSOR, Pass, attention
from workshop_utils.memory.tensors.feed_forward import gathered, grouped, mlp, router, sparse
from workshop_utils.memory.tensors.latent import latent_attention
from workshop_utils.memory.tensors.norms import norm
from workshop_utils.memory.tensors.style import Style
from workshop_utils.memory.tensors.tape import Slot, Tape, highest, without_small_passing
from workshop_utils.models.architecture import (
    Attention,
    ConstantState,
    GatedDeltaNet,
    LatentAttention,
    Layer,
    Mamba2,
    Mixer,
)


class LayerTape(NamedTuple):
    """The steps of one layer, and the slots that live on: its ``output``, and K and V, the ``cache``.

    The first slots are K and V as they were, if there are any. ``most_bytes`` are alive at its fullest moment
    beyond those at its start; ``growth_bytes`` is what its cache has grown by at the end.
    """

    steps: tuple[int, ...]
    output: Slot
    cache: tuple[Slot, ...]
    cache_bytes: tuple[int, ...]
    most_bytes: int
    growth_bytes: int
    output_bytes: int


def layer_tape(  # noqa: PLR0913, PLR0917 - all that two layers may differ in
    layer: Layer,
    style: Style,
    width: int,
    value_bytes: int,
    now: Pass,
    cached_bytes: tuple[int, ...],
    workspace: int = 0,
) -> LayerTape:
    """Record a layer on ``width`` values a token, after a cache of ``cached_bytes``.

    ``workspace`` is what the first matrix product of a process takes with it. The layer's input belongs to
    the caller, who frees it afterwards.
    """
    tape = Tape(now.batch * now.queries, value_bytes, slots=len(cached_bytes), width=width)
    cached = tuple(range(len(cached_bytes)))
    normed = norm(tape, style, width) if style.norm_first else NO_TENSOR
    tape.workspace = workspace
    mixed, cache, scores = mixed_tokens(tape, layer.attention, style, now, cached)
    mixed = after(tape, style, mixed, normed)
    between = added(tape, style, mixed)
    output = feed_forward(tape, layer, style, now, between)
    if scores != NO_TENSOR:
        tape.free(scores)
    most, sizes = highest(tape.steps, cached_bytes)
    after_bytes = tuple(sizes[slot] for slot in cache)
    return LayerTape(
        steps=without_small_passing(tape.steps, len(cached_bytes)),
        output=output,
        cache=cache,
        cache_bytes=after_bytes,
        most_bytes=most,
        growth_bytes=sum(after_bytes) - sum(cached_bytes),
        output_bytes=sizes[output],
    )


def mixed_tokens(
    tape: Tape, mixer: Mixer, style: Style, now: Pass, cached: tuple[Slot, ...]
) -> tuple[Slot, tuple[Slot, ...], Slot]:
    """Run the layer's mixer; returns its output, the slots of its cache, and eager attention's scores."""
    match mixer:
        case Attention():
            return attention(tape, mixer, style, now, cached)
        case LatentAttention():
            return *latent_attention(tape, mixer, style, now, cached), NO_TENSOR
        case Mamba2() | GatedDeltaNet() | ConstantState():
            # Only what it keeps and gives on; the scan between is not counted.
            state = cached[:1] or (tape.new(now.batch * mixer.state_values * 4),)
            return tape.wide(tape.width), state, NO_TENSOR


def after(tape: Tape, style: Style, result: Slot, normed: Slot) -> Slot:
    """End attention or MLP: its normed input goes, then what it gives is normed where the family does so."""
    if normed != NO_TENSOR:
        tape.free(normed)
    if not style.norm_last:
        return result
    last = norm(tape, style, tape.width)
    tape.free(result)
    return last


def added(tape: Tape, style: Style, result: Slot) -> Slot:
    """Add the result to what came in."""
    if style.residual_scale:
        scaled = tape.wide(tape.width)
        total = tape.wide(tape.width)
        tape.free(scaled, result)
        return total
    total = tape.wide(tape.width)
    tape.free(result)
    return total


def feed_forward(tape: Tape, layer: Layer, style: Style, now: Pass, between: Slot) -> Slot:
    """Run the MLP, the experts or both, and return the layer's output: ``between`` where it has neither."""
    if not (layer.mlp or layer.experts):
        return between
    normed = norm(tape, style, tape.width) if style.norm_first else NO_TENSOR
    if layer.mlp and layer.experts:
        result = beside(tape, layer, style, now, normed)
        normed = NO_TENSOR
    elif layer.mlp:
        result = mlp(tape, style, layer.mlp)
    else:
        assert layer.experts
        result = sparse(tape, style, layer.experts, now.decoding)
    result = after(tape, style, result, normed)
    output = added(tape, style, result)
    tape.free(between)
    return output


def beside(tape: Tape, layer: Layer, style: Style, now: Pass, normed: Slot) -> Slot:
    """Gemma 4: a dense MLP and experts on the same input, each normed before their sum."""
    assert layer.mlp and layer.experts
    dense = mlp(tape, style, layer.mlp)
    tape.free(normed)
    first = norm(tape, style, tape.width)
    routed = norm(tape, style, tape.width, scaled=False)
    scaled = tape.wide(tape.width)
    tape.free(routed)
    rooted = tape.wide(tape.width)
    tape.free(scaled)
    logits, weights, index = router(tape, layer.experts, style)
    tape.free(rooted, logits)
    source = norm(tape, style, tape.width)
    routed = (gathered if now.decoding else grouped)(tape, style, layer.experts)
    tape.free(source)
    second = norm(tape, style, tape.width)
    tape.free(routed)
    total = tape.wide(tape.width)
    tape.free(dense, first, second, weights, index)
    return total
