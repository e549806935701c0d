"""Explicit attention masks: tokens × tokens. sdpa does without one where attention is plainly causal."""

from workshop_utils.memory.tensors.tape import Slot, Tape

# An additive mask has rows of a multiple of 8 values (torch, ``pad_bias``).
ROW_MULTIPLE = 8


def sliding_mask(tape: Tape, rows: int, columns: int, batch: int) -> Slot:
    """Build the bool mask of a window: two comparisons, each joined to what is there, then the padding."""
    one = rows * columns
    window = tape.new(one)
    so_far = tape.new(one)
    tape.free(window)
    causal = tape.new(one)
    both = tape.new(one)
    tape.free(causal, so_far)
    again = tape.new(one)
    tape.free(both)
    padded = tape.new(one * batch)
    tape.free(again)
    return padded


def causal_mask(tape: Tape, rows: int, columns: int, batch: int) -> Slot:
    """Build the bool causal mask, joined with the padding of each sequence."""
    one = rows * columns
    causal = tape.new(one)
    so_far = tape.new(one)
    tape.free(causal)
    padded = tape.new(one * batch)
    tape.free(so_far)
    return padded


def additive(tape: Tape, mask: Slot, rows: int, columns: int, batch: int) -> Slot:
    """Turn a bool mask into numbers to be added to the scores (eager), and let the bool one go."""
    numbers = tape.new(batch * rows * columns * tape.value_bytes)
    tape.free(mask)
    return numbers


def additive_bytes(rows: int, columns: int, batch: int, value_bytes: int) -> int:
    """Return the bytes of the additive mask that sdpa makes of a bool one in every layer."""
    return batch * rows * -(-columns // ROW_MULTIPLE) * ROW_MULTIPLE * value_bytes
