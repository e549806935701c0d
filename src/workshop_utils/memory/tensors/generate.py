"""``generate()`` from the first weight to the last token: its fullest moments, and what gets reserved."""

from functools import lru_cache
from typing import NamedTuple

from workshop_utils.memory.allocator import SMALL_SEGMENT, Allocator, Block, OutOfMemoryError
from workshop_utils.memory.tensors.attention import Pass
from workshop_utils.memory.tensors.forward import Forward, forwards
from workshop_utils.memory.tensors.live import Moment, fullest
from workshop_utils.memory.tensors.stage import Stage


class Generation(NamedTuple):
    """``batch`` prompts of ``prompt`` tokens, then ``new`` tokens each.

    ``static``: the cache has room for all tokens from the start. ``padded``: prompts of unequal length.
    ``chunk``: the prompt is computed so many tokens at a time.
    """

    prompt: int
    new: int
    batch: int
    implementation: str
    static: bool = False
    padded: bool = False
    chunk: int | None = None

    def prefill(self) -> tuple[Pass, ...]:
        """Return the prefill; of its chunks the first and the last, which is the fullest."""
        if self.chunk is None or self.chunk >= self.prompt:
            return (self.step(self.prompt, 0),)
        return (self.step(self.chunk, 0), self.step(self.chunk, self.prompt - self.chunk))

    def decoding(self) -> tuple[Pass, ...]:
        """Return the first step of the decoding and the last one; the last token is never fed back."""
        pasts = sorted({self.prompt, self.prompt + self.new - 2}) if self.new > 1 else []
        return tuple(self.step(1, past) for past in pasts)

    def step(self, queries: int, past: int) -> Pass:
        """Return one pass."""
        reserved = self.prompt + self.new - 1 if self.static else None
        return Pass(self.batch, queries, past, self.implementation, self.padded, reserved)


class Peaks(NamedTuple):
    """The fullest moments of one stage, weights aside."""

    prefill: Moment
    decode: Moment | None

    @property
    def fullest(self) -> Moment:
        if self.decode is None or self.prefill.bytes >= self.decode.bytes:
            return self.prefill
        return self.decode


@lru_cache(maxsize=8192)
def peaks(stage: Stage, generation: Generation, value_bytes: int) -> Peaks:
    """Return the fullest moment of the prefill and of the decoding."""
    prefill, decoding = generation.prefill(), generation.decoding()
    if not any(stage.layer_set.windows):
        decoding = decoding[-1:]  # without windows every step needs more than the one before
    cached, moments = 0, []
    for forward in forwards(stage.layer_set, prefill + decoding, value_bytes):
        moment, cached = fullest(forward, stage.order, cached)
        moments.append(moment)
    first = max(moments[: len(prefill)], key=lambda moment: moment.bytes)
    later = moments[len(prefill) :]
    return Peaks(first, max(later, key=lambda moment: moment.bytes) if later else None)


@lru_cache(maxsize=4096)
def reserved_bytes(  # noqa: PLR0913, PLR0917 - all that two simulations may differ in
    stage: Stage,
    generation: Generation,
    value_bytes: int,
    loaded: tuple[int, ...],
    workspace: int,
    limit: int | None = None,
) -> int | None:
    """Return what the allocator has reserved at most, None where even giving back what is free is not enough.

    ``loaded`` are the bytes that stand there before the first pass: weights, which transformers loads into
    one piece. ``workspace`` comes with the first matrix product; small passing tensors get one segment.
    ``limit`` is what the GPU has for the allocator. Until the first segment beyond it, all goes as without a
    limit, and mostly that segment decides: another simulation is rare.
    """
    growth = growth_of(stage, generation, value_bytes, loaded, workspace)
    beyond = next((needed for reserved, needed in growth if limit is not None and reserved > limit), None)
    if limit is None or beyond is None:
        return growth[-1][0]
    if beyond > limit:
        return None
    try:
        return simulated(Allocator(limit), stage, generation, value_bytes, loaded, workspace).peak_reserved
    except OutOfMemoryError:
        return None


@lru_cache(maxsize=1024)
def growth_of(
    stage: Stage, generation: Generation, value_bytes: int, loaded: tuple[int, ...], workspace: int
) -> tuple[tuple[int, int], ...]:
    """Return how the reserve grows on a GPU without end; see ``Allocator``."""
    return tuple(simulated(Allocator(), stage, generation, value_bytes, loaded, workspace).growth)


def simulated(  # noqa: PLR0913, PLR0917 - as above
    allocator: Allocator,
    stage: Stage,
    generation: Generation,
    value_bytes: int,
    loaded: tuple[int, ...],
    workspace: int,
) -> Allocator:
    """Return the allocator after ``generate()``; OutOfMemoryError where that does not end."""
    passes = generation.prefill() + generation.decoding()
    for size in (*loaded, SMALL_SEGMENT):
        allocator.take(size)
    cache: list[list[Block | None]] = [[] for _ in stage.order]
    for forward in forwards(stage.layer_set, passes, value_bytes, workspace):
        play(allocator, forward, stage.order, cache)
    return allocator


def play(
    allocator: Allocator, forward: Forward, order: tuple[int, ...], cache: list[list[Block | None]]
) -> None:
    """Run one pass on the allocator; ``cache`` has the K and V of each layer and is renewed."""
    blocks = allocator.run(forward.opening.steps, [])
    kept = [blocks[slot] for slot in forward.opening.kept]
    hidden = None if forward.opening.hidden is None else blocks[forward.opening.hidden]
    for number, kind in enumerate(order):
        tape = forward.first if number == 0 and forward.first else forward.kinds[kind]
        # What another device sends for this layer alone stands there while the layer runs.
        sent = [allocator.take(size) for size in forward.sent[kind]] if forward.sent else []
        blocks = allocator.run(tape.steps, cache[number])
        cache[number] = [blocks[slot] for slot in tape.cache]
        # What a stage was sent goes with the call of its first layer, before the rest of that call.
        received = number == 0 and forward.opening.hidden is not None
        allocator.give_all([hidden, *sent] if received else [*sent, hidden])
        hidden = blocks[tape.output]
    normed: list[Block | None] = []
    if forward.norm:
        blocks = allocator.run(forward.norm.steps, [])
        normed = [blocks[slot] for slot in forward.norm.kept]
    allocator.give_all([hidden, *kept])
    if forward.logits:
        allocator.run(forward.logits.steps, [])
    allocator.give_all(normed)
