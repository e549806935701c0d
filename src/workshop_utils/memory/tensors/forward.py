"""A forward pass of a stage: embedding, masks, rotary tables, its layers, and at the end the logits."""

from dataclasses import dataclass, replace
from functools import lru_cache

from workshop_utils.memory.allocator import Allocator, Block
from workshop_utils.memory.sharding import Shard
from workshop_utils.memory.tensors.attention import Pass
from workshop_utils.memory.tensors.layer import LayerTape, layer_tape
from workshop_utils.memory.tensors.masks import additive, causal_mask, sliding_mask
from workshop_utils.memory.tensors.norms import norm
from workshop_utils.memory.tensors.rotary import tables
from workshop_utils.memory.tensors.style import Style, style_of
from workshop_utils.memory.tensors.tape import Tape
from workshop_utils.models.architecture import Attention, LatentAttention, Layer

# ids, attention mask, positions and one of them twice: integers of 8 bytes a token.
INPUTS, INDEX_BYTES = 4, 8
Cache = list[tuple[Block, ...]]


@dataclass(frozen=True, slots=True)
class Opening:
    """What stands before the layers: steps, and the slots that stay for the whole pass."""

    steps: tuple[int, ...]
    kept: tuple[int, ...]


def forward(allocator: Allocator, shard: Shard, now: Pass, value_bytes: int, cache: Cache) -> None:
    """Run one pass of a stage on the allocator; ``cache`` has the K and V of each layer and is renewed."""
    style = style_of(shard.architecture.model_type)
    opening = opening_tape(shard, style, now, value_bytes)
    blocks = allocator.run(opening.steps, [])
    kept = [blocks[slot] for slot in opening.kept]
    hidden = None
    for number, layer in enumerate(shard.layers):
        tape = cached_layer_tape(layer, style, shard.hidden_size, value_bytes, pass_of(layer, now))
        before = list(cache[number]) if number < len(cache) else []
        blocks = allocator.run(tape.steps, before)
        renewed = tuple(blocks[slot] for slot in tape.cache)
        if number < len(cache):
            cache[number] = renewed
        else:
            cache.append(renewed)
        if hidden is not None:
            allocator.give(hidden)
        hidden = blocks[tape.output]
    last = final_norm_tape(style, shard.hidden_size, now.batch * now.queries, value_bytes)
    normed = allocator.run(last.steps, []) if shard.final_norm else []
    for block in (hidden, *kept):
        if block is not None:
            allocator.give(block)
    if shard.final_norm:
        allocator.run(closing_steps(shard, now.batch, value_bytes), [])
        for slot in last.kept:
            allocator.give(normed[slot])


@lru_cache(maxsize=1024)
def final_norm_tape(style: Style, width: int, tokens: int, value_bytes: int) -> Opening:
    """Record the norm of all tokens after the last layer."""
    tape = Tape(tokens, value_bytes)
    return Opening(kept=(norm(tape, style, width),), steps=tuple(tape.steps))


def pass_of(layer: Layer, now: Pass) -> Pass:
    """Return the pass as this layer sees it: with a mask of its own where sdpa cannot do without."""
    if now.implementation == "eager":
        return now
    return replace(now, masked=now.masked or needs_mask(layer.attention.window, now))


def needs_mask(window: int | None, now: Pass) -> bool:
    """Whether sdpa gets a mask: a window that is full, or a static cache that has room left.

    Source: ``_ignore_causal_mask_sdpa``, transformers/masking_utils.py.
    """
    return (window is not None and now.keys(window) >= window) or bool(now.reserved and now.past)


@lru_cache(maxsize=4096)
def cached_layer_tape(layer: Layer, style: Style, width: int, value_bytes: int, now: Pass) -> LayerTape:
    """Return the steps of a layer, recorded once for all equal ones."""
    return layer_tape(layer, style, width, value_bytes, now)


@lru_cache(maxsize=1024)
def opening_tape(shard: Shard, style: Style, now: Pass, value_bytes: int) -> Opening:
    """Record what stands before the layers."""
    tape = Tape(now.batch * now.queries, value_bytes)
    kept = [tape.new(tape.tokens * INDEX_BYTES) for _ in range(INPUTS)]
    embedded = tape.wide(shard.hidden_size)
    if style.embedding_scale and shard.embedding_rows:
        scaled = tape.wide(shard.hidden_size)
        tape.free(embedded)
        embedded = scaled
    kept.append(embedded)
    kept += mask_slots(tape, shard, now)
    for head_dim in rotary_widths(shard):
        kept += tables(tape, style, head_dim)
    return Opening(tuple(tape.steps), tuple(kept))


def mask_slots(tape: Tape, shard: Shard, now: Pass) -> list[int]:
    """Build the masks that the layers share: one for each window, one for those without."""
    slots = []
    for window in sorted({layer.attention.window for layer in shard.layers}, key=lambda size: size or 0):
        eager = now.implementation == "eager"
        if not (eager or now.masked or needs_mask(window, now)):
            continue
        columns = now.keys(window) if now.past or now.reserved else now.queries
        build = sliding_mask if window else causal_mask
        mask = build(tape, now.queries, columns, now.batch)
        slots.append(additive(tape, mask, now.queries, columns, now.batch) if eager else mask)
    return slots


def rotary_widths(shard: Shard) -> list[int]:
    """Return the head width of each table of rotary positions: kinds of layers may have their own."""
    kinds = {layer.attention.kind: layer.attention for layer in shard.layers}
    widths = [
        mixer.head_dim if isinstance(mixer, Attention) else mixer.rotary_dim
        for mixer in kinds.values()
        if isinstance(mixer, Attention | LatentAttention)
    ]
    own = shard.architecture.model_type.startswith(("gemma3", "gemma4"))
    return widths if own else widths[:1]


def closing_steps(shard: Shard, batch: int, value_bytes: int) -> tuple[int, ...]:
    """Record the logits of the last token of each sequence, and their copy in float32."""
    tape = Tape(batch, value_bytes)
    logits = tape.wide(shard.architecture.vocabulary_size)
    single = tape.single(shard.architecture.vocabulary_size)
    tape.free(logits, single)
    return tuple(tape.steps)
