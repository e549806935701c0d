"""A tape of tensors made and freed: what a piece of a forward pass asks of the allocator, in order."""

from dataclasses import dataclass, field

Slot = int


@dataclass(slots=True)
class Tape:
    """``steps``: a positive number makes a tensor of so many bytes in the next slot; ``~slot`` frees one.

    ``tokens`` are those of all sequences in this pass, ``value_bytes`` those of an activation value.
    """

    tokens: int
    value_bytes: int
    steps: list[int] = field(default_factory=list)
    slots: int = 0

    def new(self, size: int) -> Slot:
        """Make a tensor of ``size`` bytes; nothing in it takes a slot and no memory."""
        self.steps.append(size)
        self.slots += 1
        return self.slots - 1

    def wide(self, width: int) -> Slot:
        """Make a tensor of ``width`` values a token, in the model's precision."""
        return self.new(self.tokens * width * self.value_bytes)

    def single(self, width: int) -> Slot:
        """Make a tensor of ``width`` float32 a token."""
        return self.new(self.tokens * width * 4)

    def free(self, *slots: Slot) -> None:
        """Free tensors, in this order."""
        self.steps.extend(~slot for slot in slots)
