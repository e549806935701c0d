"""``generate()`` from the first weight to the last token: its peaks, and what the allocator reserves."""

from dataclasses import dataclass

from workshop_utils.memory.allocator import Allocator
from workshop_utils.memory.sharding import Shard
from workshop_utils.memory.tensors.attention import Pass
from workshop_utils.memory.tensors.forward import Cache, forward


@dataclass(frozen=True, slots=True)
class Generation:
    """What is generated: ``batch`` prompts of ``prompt`` tokens and ``new`` tokens each.

    ``static``: the cache has room for all tokens from the start. ``padded``: prompts of unequal length.
    """

    prompt: int
    new: int
    batch: int
    implementation: str
    static: bool = False
    padded: bool = False

    def passes(self) -> tuple[Pass, ...]:
        """Return the prefill, the first step of the decoding, and the last one."""
        reserved = self.prompt + self.new - 1 if self.static else None

        def of(queries: int, past: int) -> Pass:
            return Pass(self.batch, queries, past, self.implementation, self.padded, reserved)

        # The last token is never fed back.
        steps = sorted({self.prompt, self.prompt + self.new - 2}) if self.new > 1 else []
        return (of(self.prompt, 0), *(of(1, past) for past in steps))


@dataclass(frozen=True, slots=True)
class Peaks:
    """Bytes of one GPU, weights included: as torch counts them, at the prefill, while decoding, reserved."""

    prefill: int
    decode: int
    reserved: int


def run(shard: Shard, weights: int, kept: int, generation: Generation, value_bytes: int) -> Peaks:
    """Return the peaks of a stage with ``weights`` bytes loaded at once and ``kept`` for libraries."""
    allocator = Allocator()
    if weights:
        allocator.take(weights)
    if kept:
        allocator.take(kept)
    cache: Cache = []
    peaks = []
    for now in generation.passes():
        forward(allocator, shard, now, value_bytes, cache)
        peaks.append(allocator.peak_allocated)
        allocator.restart_peaks()
    return Peaks(peaks[0], max(peaks[1:], default=0), allocator.peak_reserved)
