"""The sum over ranks of a small tensor, in one kernel: every rank writes its part into all ranks' memory.

A few kilobytes are all latency. A rank that *reads* its peers' parts waits for the way there and back, after
a signal that they are written; one that *writes* into theirs needs one way. Programs agree slice by slice:
each writes its slice to all ranks, raises a flag on each, and adds as soon as its own flags are up. No rank
waits for all of another, and none has to say that it has read: an inbox has two halves, used in turn, and
nobody comes back to the first half before all others, whose flags it has seen, have left it.
"""

import torch
import triton
import triton.language as tl

# Values of a program: two warps, 16 bytes a thread in 16 bits.
SLICE, WARPS = 512, 2


@triton.jit
def _inbox(address, dtype: tl.constexpr):
    """Return the pointer at an address, of which the compiler must be told that wide accesses fit."""
    return tl.multiple_of(tl.load(address).to(tl.pointer_type(dtype)), 16)


@triton.jit
def _pushed_sum_kernel(
    part, out, inboxes, flags, turns, numbers, rank: tl.constexpr, ranks: tl.constexpr, block: tl.constexpr
):
    program = tl.program_id(0)
    places = program * block + tl.arange(0, block)
    mask = places < numbers
    turn = tl.load(turns + program) + 1
    tl.store(turns + program, turn)
    half = turn % 2 * ranks
    mine = tl.load(part + places, mask=mask)
    for other in tl.static_range(ranks):
        inbox = _inbox(inboxes + other, part.dtype.element_ty)
        tl.store(inbox + (half + rank) * numbers + places, mine, mask=mask)
    # One thread raises the flags, so the others must have written before.
    tl.debug_barrier()
    for other in tl.static_range(ranks):
        raised = tl.load(flags + other).to(tl.pointer_type(tl.int32)) + program * ranks + rank
        tl.atomic_xchg(raised, turn, sem="release", scope="sys")
    awaited = tl.load(flags + rank).to(tl.pointer_type(tl.int32)) + program * ranks
    for other in tl.static_range(ranks):
        # A rank that is ahead has raised its flag for the next turn already.
        while tl.atomic_add(awaited + other, 0, sem="acquire", scope="sys") < turn:
            pass
    tl.debug_barrier()
    inbox = _inbox(inboxes + rank, part.dtype.element_ty)
    total = tl.zeros([block], tl.float32)
    for other in tl.static_range(ranks):
        # Volatile: a cached line would be that of two turns before.
        total += tl.load(inbox + (half + other) * numbers + places, mask=mask, volatile=True).to(tl.float32)
    tl.store(out + places, total.to(out.dtype.element_ty), mask=mask)


def slices(numbers: int) -> int:
    """Return how many programs share a tensor of so many values: the flags that a pair of ranks needs."""
    return int(triton.cdiv(numbers, SLICE))


def pushed_sum(
    part: torch.Tensor, inboxes: torch.Tensor, flags: torch.Tensor, turns: torch.Tensor, rank: int
) -> torch.Tensor:
    """Return the sum of all ranks' ``part``, any shape, in its type; the ranks' parts are added in order.

    ``inboxes`` and ``flags`` [ranks] are addresses, as int64 on the device, of memory on each rank that all
    can write: 2 × ranks × ``part.numel()`` values of its type, and ``slices(part.numel())`` × ranks int32,
    zero at the start. ``turns`` [slices] int32, zero too, is this rank's alone. Every rank must call it
    equally often; one that does not
    leaves the others waiting on their GPUs.
    """
    out = torch.empty_like(part)
    _pushed_sum_kernel[(slices(part.numel()),)](
        part, out, inboxes, flags, turns, part.numel(), rank=rank, ranks=len(inboxes), block=SLICE,
        num_warps=WARPS,
    )  # fmt: skip
    return out
