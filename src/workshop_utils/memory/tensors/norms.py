"""Root mean square norms: float32 inside, so a norm needs five times its output for a moment."""

from workshop_utils.memory.tensors.style import Style
from workshop_utils.memory.tensors.tape import Slot, Tape


def norm(tape: Tape, style: Style, width: int, groups: int = 1, scaled: bool = True) -> Slot:
    """Norm ``width`` values a token, in ``groups`` of their own, and return the result.

    ``scaled`` is whether the norm has a weight.
    """
    half = tape.value_bytes < 4
    wide = tape.single(width) if half else None
    squares = tape.single(width)
    mean = tape.single(groups)
    tape.free(squares)
    shifted = tape.single(groups)
    root = tape.single(groups)
    tape.free(shifted)
    normed = tape.single(width)
    tape.free(root)
    if wide is not None:
        tape.free(wide)
    result = weighted(tape, style, width, normed, half) if scaled else typed(tape, width, normed, half)
    tape.free(mean)
    return result


def weighted(tape: Tape, style: Style, width: int, normed: Slot, half: bool) -> Slot:
    """Multiply by the weight, before going back to the model's precision or after it."""
    if not half:
        product = tape.single(width)
        tape.free(normed)
        return product
    if style.norm in ("llama", "typed"):
        plain = tape.wide(width)
        if style.norm == "typed":
            tape.free(normed)
        product = tape.wide(width)
        tape.free(plain)
        if style.norm == "llama":
            tape.free(normed)
        return product
    product = tape.single(width)
    if style.norm == "gemma":
        tape.free(normed)
    result = tape.wide(width)
    tape.free(product)
    if style.norm == "olmo":
        tape.free(normed)
    return result


def typed(tape: Tape, width: int, normed: Slot, half: bool) -> Slot:
    """Go back to the model's precision."""
    if not half:
        return normed
    result = tape.wide(width)
    tape.free(normed)
    return result
