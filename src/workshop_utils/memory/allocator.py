"""PyTorch's caching allocator, simulated: which segments it asks of the driver for a sequence of tensors.

What a process holds is what the allocator has reserved, 1 to 40 % more than its tensors need: freed memory
stays in segments that later, differently sized tensors do not fit. The rules are deterministic, so the same
sequence gives the same reserve here and on a GPU. Source: c10/cuda/CUDACachingAllocator.cpp of torch 2.11
(``round_size``, ``get_pool``, ``get_allocation_size``, ``get_free_block``, ``should_split``,
``try_merge_blocks``, ``release_cached_blocks``).
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from workshop_utils.units import MIB

SMALLEST = 512  # kMinBlockSize: every size is a multiple of it
SMALL = MIB  # kSmallSize: up to here a tensor lives in the pool of small blocks
SMALL_SEGMENT = 2 * MIB  # kSmallBuffer
LARGE_SEGMENT = 20 * MIB  # kLargeBuffer: what tensors of 1 to 10 MiB are cut from
WHOLE_SEGMENT_FROM = 10 * MIB  # kMinLargeAlloc
SEGMENT_MULTIPLE = 2 * MIB  # kRoundLarge
# The highest address; later segments get lower ones, as the driver gives them to a fresh process. That only
# decides which of two free blocks of one size comes first.
TOP = 1 << 47


class OutOfMemoryError(Exception):
    """The GPU has no room for a segment, even after all that is free was given back."""


class Block:
    """A piece of a segment, in use or free, between its neighbours in the same segment."""

    __slots__ = ("after", "before", "free", "key", "place", "size", "small")

    def __init__(self, size: int, place: int, small: bool) -> None:
        self.size = size
        self.place = place
        self.small = small
        self.free = False
        self.key = 0
        self.before: Block | None = None
        self.after: Block | None = None


class Pool:
    """The free blocks of one pool, smallest first, then lowest address, as the allocator has them."""

    __slots__ = ("blocks", "keys", "least_rest")

    def __init__(self, least_rest: int) -> None:
        # Size and address in one number: sorting numbers is quicker than sorting pairs.
        self.keys: list[int] = []
        self.blocks: dict[int, Block] = {}
        self.least_rest = least_rest

    def add(self, block: Block) -> None:
        """Take in a free block."""
        block.free = True
        block.key = key = block.size * TOP + block.place
        insort(self.keys, key)
        self.blocks[key] = block

    def remove(self, block: Block) -> None:
        """Let a free block go, which grows."""
        key = block.key
        del self.keys[bisect_left(self.keys, key)], self.blocks[key]


class Allocator:
    """One GPU's allocator. All sizes in bytes; ``allocated`` and ``reserved`` as torch.cuda counts them.

    ``limit`` is what the GPU has for it, None for no end. ``growth``: without a limit, what each new segment
    made of ``reserved``, and how much of that could not have been given back.
    """

    __slots__ = (
        "_large", "_place", "_small", "allocated", "growth", "limit", "peak_allocated", "peak_reserved",
        "reserved",
    )  # fmt: skip

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.growth: list[tuple[int, int]] = []
        self._small = Pool(SMALLEST)
        self._large = Pool(SMALL + 1)
        self._place = TOP
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0

    def take(self, size: int) -> Block:
        """Return a block for a tensor of ``size`` bytes: the smallest free one that holds it, or a new."""
        size = -(-(size or 1) // SMALLEST) * SMALLEST
        pool = self._small if size <= SMALL else self._large
        keys = pool.keys
        index = bisect_left(keys, size * TOP)
        if index < len(keys):
            block = pool.blocks.pop(keys.pop(index))
            block.free = False
        else:
            block = self._new_segment(size)
        rest_size = block.size - size
        if rest_size >= pool.least_rest:
            rest = Block(rest_size, block.place + size, block.small)
            block.size = size
            rest.before = block
            after = rest.after = block.after
            if after is not None:
                after.before = rest
            block.after = rest
            pool.add(rest)
            self.allocated += size
        else:
            self.allocated += block.size
        if self.allocated > self.peak_allocated:  # noqa: PLR1730 - here a call costs as much as the rest
            self.peak_allocated = self.allocated
        return block

    def give(self, block: Block) -> None:
        """Take a block back and join it with free neighbours."""
        self.allocated -= block.size
        pool = self._small if block.small else self._large
        before, after = block.before, block.after
        if before is not None and before.free:
            pool.remove(before)
            before.size += block.size
            before.after = after
            if after is not None:
                after.before = before
            block = before
        if after is not None and after.free:
            pool.remove(after)
            block.size += after.size
            after = block.after = after.after
            if after is not None:
                after.before = block
        pool.add(block)

    def run(self, steps: Sequence[int], blocks: list[Block | None]) -> list[Block | None]:
        """Run a tape's steps: take a block for each size, give back slot ``n`` for each ``~n``.

        ``blocks`` are those of the first slots. Returns those of all slots, None where nothing was taken.
        """
        take, give = self.take, self.give
        for step in steps:
            if step > 0:
                blocks.append(take(step))
            elif step == 0:
                blocks.append(None)
            elif (block := blocks[~step]) is not None:
                give(block)
        return blocks

    def give_all(self, blocks: Iterable[Block | None]) -> None:
        """Take back what there is of these."""
        for block in blocks:
            if block is not None:
                self.give(block)

    def _new_segment(self, size: int) -> Block:
        if size <= SMALL:
            whole = SMALL_SEGMENT
        elif size < WHOLE_SEGMENT_FROM:
            whole = LARGE_SEGMENT
        else:
            whole = -(-size // SEGMENT_MULTIPLE) * SEGMENT_MULTIPLE
        if self.limit is None:
            idle = sum(pool.blocks[key].size for pool in self._pools() for key in whole_segments(pool))
            self.growth.append((self.reserved + whole, self.reserved + whole - idle))
        elif self.reserved + whole > self.limit:
            self._give_back_segments()
            if self.reserved + whole > self.limit:
                raise OutOfMemoryError
        self._place -= whole
        self.reserved += whole
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return Block(whole, self._place, size <= SMALL)

    def _pools(self) -> tuple[Pool, Pool]:
        return self._small, self._large

    def _give_back_segments(self) -> None:
        """Give every segment that is free as a whole back to the driver."""
        for pool in self._pools():
            for key in whole_segments(pool):
                self.reserved -= pool.blocks.pop(key).size
                del pool.keys[bisect_left(pool.keys, key)]


def whole_segments(pool: Pool) -> list[int]:
    """Return the keys of the free blocks that are segments as a whole."""
    return [key for key, block in pool.blocks.items() if not (block.before or block.after)]
