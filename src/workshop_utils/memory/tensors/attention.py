"""Attention of one layer: projections, norms and rotation of Q and K, the cache, the scores."""

from typing import NamedTuple

from workshop_utils.memory.tensors.masks import additive_bytes
from workshop_utils.memory.tensors.norms import norm
from workshop_utils.memory.tensors.rotary import turned
from workshop_utils.memory.tensors.style import Style
from workshop_utils.memory.tensors.tape import Slot, Tape
from workshop_utils.models.architecture import Attention

# Beyond this head width, or with a mask, torch's kernels take no grouped K and V (``use_gqa_in_sdpa``).
WIDEST_GROUPED_HEAD = 256
NO_TENSOR: Slot = -1


class Pass(NamedTuple):
    """One forward pass: ``batch`` sequences of ``queries`` new tokens each, after ``past`` cached ones.

    ``masked``: layers of this kind get an explicit mask. ``reserved``: tokens of a static cache, None for a
    dynamic one.
    """

    batch: int
    queries: int
    past: int
    implementation: str
    masked: bool
    reserved: int | None = None

    @property
    def decoding(self) -> bool:
        """Whether this is a step of the decoding, and not a later chunk of the prompt."""
        return self.past > 0 and self.queries == 1

    def keys(self, window: int | None) -> int:
        """Tokens that a layer attends to: all, or what its cache keeps and the new ones."""
        if self.reserved is not None:
            return min(self.reserved, window or self.reserved) if self.past or not window else self.queries
        kept = min(self.past, window - 1) if window else self.past
        return kept + self.queries


def attention(
    tape: Tape, mixer: Attention, style: Style, now: Pass, cached: tuple[Slot, ...]
) -> tuple[Slot, tuple[Slot, ...], Slot]:
    """Run attention on an input that the caller frees; ``width`` is that of its output.

    Returns the output, the slots of K and V, and the scores that eager attention hands back.
    """
    q, k, v = rotated(tape, mixer, style)
    full = updated(tape, mixer, now, cached)
    # A view into the one projection of Q, K and V keeps all of it; a static window hands K and V on.
    held = ((v,) if style.fused else ()) if now.reserved is None or not mixer.window or now.past else (k, v)
    tape.free(*(slot for slot in (k, v) if slot not in held))
    run = eager if now.implementation == "eager" else sdpa
    output, scores = run(tape, mixer, now)
    if style.rotary == "partial" and scores == NO_TENSOR:
        output = replaced_by_copy(tape, output, mixer)
    projected = tape.wide(tape.width)
    tape.free(output, *held, q)
    return projected, full, scores


def rotated(tape: Tape, mixer: Attention, style: Style) -> tuple[Slot, Slot, Slot]:
    """Project, norm and turn; returns Q, K and V, or in its place what V is a view of."""
    queries, keys = mixer.heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim
    if style.rotary == "single":
        return rotated_one_by_one(tape, mixer, style, queries, keys)
    if style.fused:
        fused = tape.wide(queries + 2 * keys)
        q = turned(tape, style, queries)
        k = turned(tape, style, keys)
        return q, k, fused
    normed = bool(mixer.qk_norm or mixer.qk_norm_over_heads)
    if mixer.qk_norm_over_heads:
        q = with_norm(tape, style, queries, 1)
        k = with_norm(tape, style, keys, 1)
        v = tape.wide(keys)
    elif normed and style.norm == "llama":
        q = with_norm(tape, style, queries, mixer.heads)
        k = with_norm(tape, style, keys, mixer.kv_heads)
        v = tape.wide(keys)
    else:
        q, k, v = tape.wide(queries), tape.wide(keys), tape.wide(keys)
        if normed:
            q = tape.replace(q, norm(tape, style, queries, mixer.heads))
            k = tape.replace(k, norm(tape, style, keys, mixer.kv_heads))
    q_turned = turned(tape, style, queries)
    k_turned = turned(tape, style, keys)
    if style.rotary == "float32" and tape.value_bytes < 4:
        q_cast, k_cast = tape.wide(queries), tape.wide(keys)
        tape.free(q_turned, k_turned)
        q_turned, k_turned = q_cast, k_cast
    tape.free(q, k)
    return q_turned, k_turned, v


def rotated_one_by_one(
    tape: Tape, mixer: Attention, style: Style, queries: int, keys: int
) -> tuple[Slot, Slot, Slot]:
    """Gemma 4: Q is done with before K and V are projected; V has a norm without weight."""
    q = with_norm(tape, style, queries, mixer.heads)
    q = tape.replace(q, turned(tape, style, queries))
    k = tape.wide(keys)
    v = k if mixer.keys_are_values else tape.wide(keys)
    k_normed = norm(tape, style, keys, mixer.kv_heads)
    if v != k:
        tape.free(k)
    k_turned = tape.replace(k_normed, turned(tape, style, keys))
    v_normed = norm(tape, style, keys, mixer.kv_heads, scaled=False)
    tape.free(v)
    return q, k_turned, v_normed


def with_norm(tape: Tape, style: Style, width: int, groups: int) -> Slot:
    """Project and norm at once; the projection goes when the norm is done."""
    projected = tape.wide(width)
    return tape.replace(projected, norm(tape, style, width, groups))


def replaced_by_copy(tape: Tape, output: Slot, mixer: Attention) -> Slot:
    """Copy the output where Q lies head by head, because the kernel then gives it back in that order."""
    copy = tape.wide(mixer.heads * (mixer.value_dim or mixer.head_dim))
    return tape.replace(output, copy)


def updated(tape: Tape, mixer: Attention, now: Pass, cached: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """Put K and V into the cache: a dynamic one is made anew, longer, and the old one freed."""
    sizes = [
        mixer.kv_heads * width * tape.value_bytes * now.batch
        for width in (mixer.head_dim, mixer.value_dim or mixer.head_dim)
    ]
    if now.reserved is not None:
        length = min(now.reserved, mixer.window or now.reserved)
        return cached or tuple(tape.new(size * length) for size in sizes)
    length = now.keys(mixer.window)
    if not cached:
        return tuple(tape.new(size * length) for size in sizes)
    if mixer.window:
        full = tuple(tape.new(size * length) for size in sizes)
        tape.free(*cached)
        return full
    slots = []
    for size, old in zip(sizes, cached, strict=True):
        slots.append(tape.new(size * length))
        tape.free(old)
    return tuple(slots)


def sdpa(tape: Tape, mixer: Attention, now: Pass) -> tuple[Slot, Slot]:
    """Torch's fused kernels: no scores in memory; with a mask, that and K and V of every head."""
    repeated = repeated_cache(tape, mixer, now) if now.masked or mixer.head_dim > WIDEST_GROUPED_HEAD else ()
    mask: tuple[Slot, ...] = ()
    if now.masked:
        columns = now.keys(mixer.window)
        mask = (tape.new(additive_bytes(now.queries, columns, now.batch, tape.value_bytes)),)
    output = tape.wide(mixer.heads * (mixer.value_dim or mixer.head_dim))
    tape.free(*mask, *repeated)
    return output, NO_TENSOR


def repeated_cache(tape: Tape, mixer: Attention, now: Pass) -> tuple[Slot, ...]:
    """Copy K and V for every head that shares them."""
    if mixer.heads == mixer.kv_heads:
        return ()
    each = now.batch * now.keys(mixer.window) * mixer.heads * mixer.head_dim * tape.value_bytes
    return tape.new(each), tape.new(each)


def eager(tape: Tape, mixer: Attention, now: Pass) -> tuple[Slot, Slot]:
    """Scores of tokens × tokens for every head: up to six bytes a score at the softmax."""
    repeated = repeated_cache(tape, mixer, now)
    count = now.batch * mixer.heads * now.queries * now.keys(mixer.window)
    value = tape.value_bytes
    product = tape.new(count * value)
    scaled = tape.new(count * value)
    tape.free(product)
    masked = tape.new(count * value)
    tape.free(scaled)
    if mixer.sinks:
        weights, rest = softmax_with_sinks(tape, masked, count, count // now.keys(mixer.window))
    else:
        wide = tape.new(count * 4) if value < 4 else masked
        probabilities = tape.new(count * 4)
        tape.free(wide)
        weights, rest = probabilities, ()
        if value < 4:
            weights = tape.new(count * value)
            tape.free(probabilities, masked)
    output = tape.wide(mixer.heads * mixer.head_dim)
    result = tape.wide(mixer.heads * mixer.head_dim)
    tape.free(output, *repeated, *rest)
    return result, weights


def softmax_with_sinks(tape: Tape, masked: Slot, count: int, rows: int) -> tuple[Slot, tuple[Slot, ...]]:
    """gpt-oss: one more column, the maximum taken off, softmax; returns the weights and what stays beside."""
    value = tape.value_bytes
    joined = tape.new((count + rows) * value)
    largest = tape.new(rows * value)
    lowered = tape.new((count + rows) * value)
    tape.free(largest, joined)
    probabilities = tape.new((count + rows) * value)
    tape.free(masked)
    return probabilities, (lowered,)
