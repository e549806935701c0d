"""A forward pass of a stage as tapes: what stands before the layers, the layers, the norm and the logits."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from workshop_utils.memory.sharding import Shard
from workshop_utils.memory.tensors.attention import Pass
from workshop_utils.memory.tensors.layer import LayerTape, layer_tape
from workshop_utils.memory.tensors.masks import additive, causal_mask, sliding_mask
from workshop_utils.memory.tensors.norms import norm
from workshop_utils.memory.tensors.rotary import tables
from workshop_utils.memory.tensors.style import Style, style_of
from workshop_utils.memory.tensors.tape import Tape, highest, without_small_passing
from workshop_utils.models.architecture import Attention, LatentAttention, Layer, Mixer

# ids, attention mask, positions and one of them twice: integers of 8 bytes a token.
INPUTS, INDEX_BYTES = 4, 8
# Model types whose sliding layers have positions of their own.
OWN_TABLES = ("gemma3", "gemma4")


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

    ``kinds`` are the tapes of distinct layers; ``order`` says of each layer which one it is. ``first`` is the
    first layer where it differs: on a later stage, by the workspace of the first matrix product.
    """

    opening: EdgeTape
    first: LayerTape | None
    kinds: tuple[LayerTape, ...]
    order: tuple[int, ...]
    norm: EdgeTape | None
    logits: EdgeTape | None


def forwards(
    shard: Shard, passes: tuple[Pass, ...], value_bytes: int, workspace: int = 0
) -> Iterator[Forward]:
    """Yield the tapes of each pass of a stage; the cache that one leaves is where the next begins.

    ``workspace`` are the bytes that come with the first matrix product; 0 where they are counted elsewhere.
    """
    style, width = style_of(shard.architecture.model_type), shard.hidden_size
    layers, order = distinct_layers(shard)
    cached: tuple[tuple[int, ...], ...] = ((),) * len(layers)
    for now in passes:
        arguments = [
            (
                layer,
                style,
                width,
                value_bytes,
                pass_of(layer, now),
                before,
                copies(shard, layer, now, value_bytes),
            )
            for layer, before in zip(layers, cached, strict=True)
        ]
        kinds = tuple(recorded_layer(*each) for each in arguments)
        later = workspace and shard.stage > 0
        first = recorded_layer(*arguments[order[0]], workspace) if later else None
        cached = tuple(tape.cache_bytes for tape in kinds)
        tokens, ends = now.batch * now.queries, shard.final_norm
        yield Forward(
            opening=opening_tape(shard, style, now, value_bytes, workspace),
            first=first,
            kinds=kinds,
            order=order,
            norm=norm_tape(style, width, tokens, value_bytes) if ends else None,
            logits=logits_tape(shard.architecture.vocabulary_size, now.batch, value_bytes) if ends else None,
        )
        workspace = 0


@lru_cache(maxsize=1024)
def distinct_layers(shard: Shard) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
    """Return the distinct layers of a stage, and of each of its layers which one it is."""
    kinds = {layer: number for number, layer in enumerate(dict.fromkeys(shard.layers))}
    return tuple(kinds), tuple(kinds[layer] for layer in shard.layers)


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
    copied: tuple[int, ...],
    workspace: int = 0,
) -> LayerTape:
    """Return the tape of a layer, recorded once for all equal ones."""
    return layer_tape(layer, style, width, value_bytes, now, before, copied, workspace)


def copies(shard: Shard, layer: Layer, now: Pass, value_bytes: int) -> tuple[int, ...]:
    """Return the bytes that Accelerate copies to a later stage for each layer: mask and positions."""
    if shard.stage == 0:
        return ()
    return copied_bytes(layer.attention, now, value_bytes)


@lru_cache(maxsize=4096)
def copied_bytes(mixer: Mixer, now: Pass, value_bytes: int) -> tuple[int, ...]:
    """Return the bytes of mask, cosines, sines and positions of a layer with this mixer."""
    tokens = now.batch * now.queries
    scratch = Tape(tokens, value_bytes)
    slots = list(mask_slots(scratch, mixer.window, now))
    sizes = highest(scratch.steps)[1]
    table = tokens * rotary_width(mixer) * value_bytes
    return (*(sizes[slot] for slot in slots), table, table, tokens * INDEX_BYTES)


def rotary_width(mixer: Mixer) -> int:
    """Return the values of a row of cosines, 0 without rotary positions."""
    match mixer:
        case Attention():
            return mixer.head_dim
        case LatentAttention():
            return mixer.rotary_dim
        case _:
            return 0


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


def opening_tape(shard: Shard, style: Style, now: Pass, value_bytes: int, workspace: int) -> EdgeTape:
    """Record inputs, embedding, masks and rotary tables; a later stage gets hidden states instead."""
    return recorded_opening(
        shard.hidden_size,
        windows_of(shard),
        rotary_widths(shard),
        bool(shard.stage == 0),
        style,
        now,
        value_bytes,
        workspace,
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
    """Return what stands before the layers, recorded once for all equal ones."""
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


@lru_cache(maxsize=1024)
def windows_of(shard: Shard) -> tuple[int, ...]:
    """Return the windows of a stage's layers, 0 for none."""
    return tuple(sorted({layer.attention.window or 0 for layer in shard.layers}))


@lru_cache(maxsize=1024)
def rotary_widths(shard: Shard) -> tuple[int, ...]:
    """Return the head width of each table of rotary positions: kinds of layers may have their own."""
    kinds = {layer.attention.kind: layer.attention for layer in shard.layers}
    widths = tuple(width for mixer in kinds.values() if (width := rotary_width(mixer)))
    return widths if shard.architecture.model_type.startswith(OWN_TABLES) else widths[:1]


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
