"""The sum over ranks of a small tensor: every rank writes its part into all ranks' memory.

A few kilobytes are all latency. A rank that *reads* its peers' parts waits for the way there and back, after
a signal that they are written; one that *writes* into theirs needs one way. Nor is a signal needed: numbers
travel in words of 8 bytes, which arrive as a whole, 4 bytes of values beside the number of the turn. Whoever
finds the turn it waits for has the values too (NCCL calls this its LL protocol). No rank has to say that it
has read: an inbox has two halves, used in turn, and nobody comes back to the first half before all others,
whose words of the turn between it has seen, have left it.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

# Words of a program: one warp, 16 bytes a thread.
SLICE = 64


@dataclass(frozen=True, slots=True)
class Inboxes:
    """Where this rank writes, and where it stands.

    ``addresses`` [ranks] are those of each rank's inbox, as int64 on the device: 2 × ranks × ``words`` int64
    that all ranks can write, zero at the start. ``turns`` [1 + slices] int32, zero too, is this rank's alone.
    """

    addresses: torch.Tensor
    turns: torch.Tensor
    rank: int

    @property
    def ranks(self) -> int:
        return len(self.addresses)


def words_for(numbers: int, dtype: torch.dtype) -> int:
    """Return how many words carry so many values, of 16 or 32 bits; ValueError for half a word."""
    each = 4 // dtype.itemsize
    if numbers % each:
        raise ValueError(f"{numbers} values of {dtype} do not fill words of {each}")
    return numbers // int(each)


def slices(words: int) -> int:
    """Return how many programs share so many words."""
    return int(triton.cdiv(words, SLICE))


@triton.jit
def packed(values, turn):
    """Return words [..., n / 2] of 16-bit values [..., n], or [..., n] of 32-bit ones, with the turn."""
    if values.dtype.primitive_bitwidth == 16:
        rows: tl.constexpr = values.shape[0]
        half: tl.constexpr = values.shape[1] // 2
        bits = tl.reshape(values.to(tl.uint16, bitcast=True).to(tl.uint32), [rows, half, 2])
        low, high = tl.split(bits)
        payload = low | (high << 16)
    else:
        payload = values.to(tl.uint32, bitcast=True)
    return payload.to(tl.int64) | (turn.to(tl.int64) << 32)


@triton.jit
def unpacked(words, dtype: tl.constexpr):
    """Return the values of words [n] in float32: [n, 2] of 16-bit ones, [n, 1] of 32-bit ones."""
    payload = words.to(tl.uint32)
    if dtype.primitive_bitwidth == 16:
        low = payload.to(tl.uint16).to(dtype, bitcast=True)
        high = (payload >> 16).to(tl.uint16).to(dtype, bitcast=True)
        values = tl.join(low, high).to(tl.float32)
    else:
        values = payload.to(dtype, bitcast=True).to(tl.float32)[:, None]
    return values


@triton.jit
def push(words, places, mask, inboxes, turn, size, rank: tl.constexpr, ranks: tl.constexpr):
    """Write words to the same places of all ranks' inboxes of ``size`` words."""
    own = (turn % 2 * ranks + rank) * size
    for other in tl.static_range(ranks):
        inbox = tl.multiple_of(tl.load(inboxes + other).to(tl.pointer_type(tl.int64)), 16)
        tl.store(inbox + own + places, words, mask=mask)


@triton.jit
def _sum_kernel(
    part, out, inboxes, turns, size, rank: tl.constexpr, ranks: tl.constexpr, block: tl.constexpr,
    each: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    places = program * block + tl.arange(0, block)
    mask = places < size
    values_at = places[:, None] * each + tl.arange(0, each)[None, :]
    turn = tl.load(turns + 1 + program) + 1
    if part is not None:
        mine = tl.load(part + values_at, mask=mask[:, None], other=0.0)
        words = packed(mine, turn)
        push(tl.reshape(words, [block]), places, mask, inboxes, turn, size, rank, ranks)
    inbox = tl.multiple_of(tl.load(inboxes + rank).to(tl.pointer_type(tl.int64)), 16)
    total = tl.zeros([block, each], tl.float32)
    for other in tl.static_range(ranks):
        there = inbox + (turn % 2 * ranks + other) * size + places
        # Volatile: it is another GPU that writes.
        words = tl.load(there, mask=mask, volatile=True)
        while tl.max((mask & (words >> 32 != turn)).to(tl.int32), axis=0) > 0:
            words = tl.load(there, mask=mask, volatile=True)
        total += unpacked(words, out.dtype.element_ty)
    tl.store(out + values_at, total.to(out.dtype.element_ty), mask=mask[:, None])
    tl.store(turns + 1 + program, turn)
    if program == 0:
        tl.store(turns, turn)


def pushed_sum(part: torch.Tensor, inboxes: Inboxes) -> torch.Tensor:
    """Return the sum of all ranks' ``part``, any shape, in its type; the ranks' parts are added in order.

    Every rank must call it equally often; one that does not leaves the others waiting on their GPUs.
    """
    return _sum(part, torch.empty_like(part), inboxes)


def taken_sum(out: torch.Tensor, inboxes: Inboxes) -> torch.Tensor:
    """Return ``out``, filled with the sum of what every rank has pushed; wait for those who have not yet."""
    return _sum(None, out, inboxes)


def _sum(part: torch.Tensor | None, out: torch.Tensor, inboxes: Inboxes) -> torch.Tensor:
    size = words_for(out.numel(), out.dtype)
    _sum_kernel[(slices(size),)](
        part, out, inboxes.addresses, inboxes.turns, size, rank=inboxes.rank, ranks=inboxes.ranks,
        block=SLICE, each=4 // out.dtype.itemsize, num_warps=1,
    )  # fmt: skip
    return out
