"""A tape of tensors made and freed: what a piece of a forward pass asks of the allocator, in order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from workshop_utils.memory.allocator import SMALL, SMALLEST

Slot = int


@dataclass(slots=True)
class Tape:
    """``steps``: a positive number makes a tensor of so many bytes in the next slot; ``~slot`` frees one.

    ``tokens`` are those of all sequences in this pass, ``value_bytes`` those of an activation value. Sizes
    are what the allocator hands out: multiples of 512 bytes. ``width`` is that of a hidden state.
    ``workspace`` bytes for matrix products come right behind the next tensor, the result of the first of
    them, and stay.
    """

    tokens: int
    value_bytes: int
    steps: list[int] = field(default_factory=list)
    slots: int = 0
    width: int = 0
    workspace: int = 0

    def new(self, size: int) -> Slot:
        """Make a tensor of ``size`` bytes; nothing in it takes a slot and no memory."""
        slot = self.slots
        self.steps.append(-(-size // SMALLEST) * SMALLEST)
        self.slots += 1
        if self.workspace:
            self.steps.append(self.workspace)
            self.slots += 1
            self.workspace = 0
        return slot

    def wide(self, width: int) -> Slot:
        """Make a tensor of ``width`` values a token, in the model's precision."""
        return self.new(self.tokens * width * self.value_bytes)

    def single(self, width: int) -> Slot:
        """Make a tensor of ``width`` float32 a token."""
        return self.new(self.tokens * width * 4)

    def free(self, *slots: Slot) -> None:
        """Free tensors, in this order."""
        self.steps.extend(~slot for slot in slots)

    def replace(self, old: Slot, new: Slot) -> Slot:
        """Free ``old``, whose place ``new`` takes."""
        self.steps.append(~old)
        return new


def highest(steps: Sequence[int], sizes: Sequence[int] = ()) -> tuple[int, list[int]]:
    """Return the most bytes alive beyond those at the start, and the size of every slot.

    ``sizes`` are those of the slots that exist before the first step.
    """
    all_sizes, live, most = list(sizes), 0, 0
    for step in steps:
        if step >= 0:
            all_sizes.append(step)
            live += step
            most = max(most, live)
        else:
            live -= all_sizes[~step]
    return most, all_sizes


def without_small_passing(steps: Sequence[int], first_slots: int) -> tuple[int, ...]:
    """Return the steps without small tensors that end where they began: they share a few segments of 2 MiB.

    Slots keep their numbers; a tensor that is left out becomes one of nothing.
    """
    ended = {~step for step in steps if step < 0}
    kept, slot = [], first_slots
    passing: set[int] = set()
    for step in steps:
        if step >= 0:
            if step <= SMALL and slot in ended:
                passing.add(slot)
                kept.append(0)
            else:
                kept.append(step)
            slot += 1
        elif ~step not in passing:
            kept.append(step)
    return tuple(kept)
