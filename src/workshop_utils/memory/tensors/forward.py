"""A forward pass of a stage as tapes: what stands before the layers, the layers, the norm and the logits."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from workshop_utils.memory.tensors.attention import Pass
from workshop_utils.memory.tensors.layer import LayerTape, layer_tape
from workshop_utils.memory.tensors.masks import additive, causal_mask, sliding_mask
from workshop_utils.memory.tensors.norms import norm
from workshop_utils.memory.tensors.rotary import tables
from workshop_utils.memory.tensors.stage import LayerSet, rotary_width
from workshop_utils.memory.tensors.style import Style
from workshop_utils.memory.tensors.tape import Tape, highest, without_small_passing
from workshop_utils.models.architecture import Layer, Mixer

# ids, attention mask, positions and one of them twice: integers of 8 bytes a token.
INPUTS, INDEX_BYTES = 4, 8


class EdgeTape(NamedTuple):
    """What stands before or after the layers; ``kept`` slots live on, ``mask_bytes`` of them are masks.

    ``hidden``: the slot of what a later stage gets from the one before, until its first layer is done.
    """

    steps: tuple[int, ...]
    kept: tuple[int, ...]
    most_bytes: int
    kept_bytes: int
    mask_bytes: int = 0
    hidden: int | None = None
    hidden_bytes: int = 0


class Forward(NamedTuple):
    """All tapes of one pass, in order; ``norm`` and ``logits`` only where the stage has the model's end.

    ``kinds`` are the tapes of distinct layers. ``first`` is that of the stage's first layer where it differs:
    on a later stage, by the workspace of the first matrix product. ``sent`` are the bytes that another device
    sends for each layer of a kind alone; nothing on the first stage.
    """

    opening: EdgeTape
    first: LayerTape | None
    kinds: tuple[LayerTape, ...]
    sent: tuple[tuple[int, ...], ...]
    norm: EdgeTape | None
    logits: EdgeTape | None


@lru_cache(maxsize=4096)
def forwards(
    stage: LayerSet, passes: tuple[Pass, ...], value_bytes: int, workspace: int = 0
) -> tuple[Forward, ...]:
    """Return the tapes of each pass of a stage; the cache that one leaves is where the next begins.

    ``workspace`` are the bytes that come with the first matrix product; 0 where they are counted elsewhere.
    """
    style, width, ends = stage.style, stage.width, stage.ends
    cached: tuple[tuple[int, ...], ...] = ((),) * len(stage.layers)
    found = []
    for now in passes:
        arguments = [
            (layer, style, width, value_bytes, pass_of(layer, now), before)
            for layer, before in zip(stage.layers, cached, strict=True)
        ]
        kinds = tuple(recorded_layer(*each) for each in arguments)
        later = workspace and not stage.embeds
        cached = tuple(tape.cache_bytes for tape in kinds)
        tokens = now.batch * now.queries
        found.append(
            Forward(
                opening=recorded_opening(
                    width, stage.windows, stage.rotary, stage.embeds, style, now, value_bytes, workspace
                ),
                first=recorded_layer(*arguments[0], workspace) if later else None,
                kinds=kinds,
                sent=() if stage.embeds else sent_bytes(stage, now, value_bytes),
                norm=norm_tape(style, width, tokens, value_bytes) if ends else None,
                logits=logits_tape(stage.vocabulary, now.batch, value_bytes) if ends else None,
            )
        )
        workspace = 0
    return tuple(found)


def pass_of(layer: Layer, now: Pass) -> Pass:
    """Return the pass as this layer sees it: with a mask where its attention cannot do without."""
    masked = now.implementation == "sdpa" and (now.masked or needs_mask(layer.attention.window, now))
    return now if masked == now.masked else now._replace(masked=masked)


def needs_mask(window: int | None, now: Pass) -> bool:
    """Whether sdpa gets a mask: a full window, a later chunk of a prompt, a static cache with room left.

    Source: ``_ignore_causal_mask_sdpa``, transformers/masking_utils.py.
    """
    later_chunk = now.queries > 1 and now.past > 0
    return (
        (window is not None and now.keys(window) >= window) or later_chunk or bool(now.reserved and now.past)
    )


@lru_cache(maxsize=8192)
def recorded_layer(  # noqa: PLR0913, PLR0917 - all that two layers may differ in
    layer: Layer,
    style: Style,
    width: int,
    value_bytes: int,
    now: Pass,
    before: tuple[int, ...],
    workspace: int = 0,
) -> LayerTape:
    """Return the tape of a layer, recorded once for all equal ones."""
    return layer_tape(layer, style, width, value_bytes, now, before, workspace)


def sent_bytes(stage: LayerSet, now: Pass, value_bytes: int) -> tuple[tuple[int, ...], ...]:
    """Return what Accelerate copies to a later stage for each kind of layer: mask and positions."""
    return tuple(copied_bytes(layer.attention, pass_of(layer, now), value_bytes) for layer in stage.layers)


def copied_bytes(mixer: Mixer, now: Pass, value_bytes: int) -> tuple[int, ...]:
    """Return the bytes of mask, cosines, sines and positions of a layer with this mixer."""
    scratch = Tape(now.batch * now.queries, value_bytes)
    slots = list(mask_slots(scratch, mixer.window, now))
    if width := rotary_width(mixer):
        slots += [scratch.wide(width), scratch.wide(width)]
    slots.append(scratch.new(scratch.tokens * INDEX_BYTES))
    sizes = highest(scratch.steps)[1]
    return tuple(sizes[slot] for slot in slots)


def edge(tape: Tape, kept: list[int], masks: list[int], hidden: int | None = None) -> EdgeTape:
    """End the recording of what stands beside the layers."""
    most, sizes = highest(tape.steps)
    return EdgeTape(
        hidden=hidden,
        hidden_bytes=0 if hidden is None else sizes[hidden],
        steps=without_small_passing(tape.steps, 0),
        kept=tuple(kept),
        most_bytes=most,
        kept_bytes=sum(sizes[slot] for slot in kept),
        mask_bytes=sum(sizes[slot] for slot in masks),
    )


@lru_cache(maxsize=4096)
def recorded_opening(  # noqa: PLR0913, PLR0917 - all that two openings may differ in
    width: int,
    windows: tuple[int, ...],
    rotary: tuple[int, ...],
    embeds: bool,
    style: Style,
    now: Pass,
    value_bytes: int,
    workspace: int,
) -> EdgeTape:
    """Record inputs, embedding, masks and rotary tables; a later stage gets hidden states instead."""
    tape = Tape(now.batch * now.queries, value_bytes)
    if not embeds:
        # A later stage is sent hidden states; masks and tables are copied for each layer.
        return edge(tape, [], [], tape.wide(width))
    kept = [tape.new(tape.tokens * INDEX_BYTES) for _ in range(INPUTS)]
    embedded = tape.wide(width)
    if style.embedding_scale:
        embedded = tape.replace(embedded, tape.wide(width))
    kept.append(embedded)
    masks = [slot for window in windows for slot in mask_slots(tape, window or None, now)]
    # The angles are the first matrix product.
    tape.workspace = workspace
    for head_dim in rotary:
        kept += tables(tape, style, head_dim)
    return edge(tape, kept + masks, masks)


def mask_slots(tape: Tape, window: int | None, now: Pass) -> Iterator[int]:
    """Build the mask that all layers with this window share, if they need one."""
    eager = now.implementation == "eager"
    if now.implementation == "flash_attention_2" or not (eager or now.masked or needs_mask(window, now)):
        return
    columns = now.keys(window) if now.past or now.reserved else now.queries
    build = sliding_mask if window else causal_mask
    mask = build(tape, now.queries, columns, now.batch)
    yield additive(tape, mask, now.queries, columns, now.batch) if eager else mask


@lru_cache(maxsize=4096)
def norm_tape(style: Style, width: int, tokens: int, value_bytes: int) -> EdgeTape:
    """Record the norm of all tokens after the last layer."""
    tape = Tape(tokens, value_bytes)
    return edge(tape, [norm(tape, style, width)], [])


@lru_cache(maxsize=4096)
def logits_tape(vocabulary: int, batch: int, value_bytes: int) -> EdgeTape:
    """Record the logits of the last token of each sequence, and their copy in float32."""
    tape = Tape(batch, value_bytes)
    logits = tape.wide(vocabulary)
    tape.free(logits, tape.single(vocabulary))
    return edge(tape, [], [])
