"""Rotary positions: cosines and sines once a pass, then Q and K turned in every layer."""

from workshop_utils.memory.tensors.style import Style
from workshop_utils.memory.tensors.tape import Slot, Tape


def tables(tape: Tape, style: Style, head_dim: int) -> tuple[Slot, ...]:
    """Compute cosines and sines of all positions and return what stays for the whole pass."""
    angles = tape.single(head_dim // 2)
    if style.rotary == "complex":
        table = tape.new(tape.tokens * head_dim // 2 * 8)
        tape.free(angles)
        return (table,)
    width = head_dim // 2 if style.rotary == "halves" else head_dim
    both = tape.single(width) if width == head_dim else angles
    scaled = []
    for _ in ("cosine", "sine"):
        plain = tape.single(width)
        scaled.append(tape.single(width))
        tape.free(plain)
    if tape.value_bytes == 4 or style.rotary == "float32":
        tape.free(*{angles, both})
        return tuple(scaled)
    tables = (tape.wide(width), tape.wide(width))
    tape.free(angles, *(() if both == angles else (both,)), *scaled)
    return tables


def turned(tape: Tape, style: Style, width: int) -> Slot:
    """Turn Q or K of ``width`` values a token and return the result; its input stays."""
    if style.rotary == "halves":
        halves = [half_product(tape, width // 2) for _ in range(2)]
        joined = tape.wide(width)
        tape.free(*halves)
        return joined
    if style.rotary == "complex":
        single = tape.single(width)
        product = tape.single(width)
        result = tape.wide(width)
        tape.free(product, single)
        return result
    if style.rotary == "float32":
        return turned_in_float32(tape, width)
    cosines = tape.wide(width)
    negative = tape.wide(width // 2)
    swapped = tape.wide(width)
    tape.free(negative)
    sines = tape.wide(width)
    tape.free(swapped)
    result = tape.wide(width)
    if style.rotary == "partial":
        tape.free(cosines, sines)
        joined = tape.wide(width)
        tape.free(result)
        return joined
    tape.free(cosines, sines)
    return result


def turned_in_float32(tape: Tape, width: int) -> Slot:
    """OLMo 2 keeps cosines and sines in float32, and so the products; the caller casts them back."""
    cosines = tape.single(width)
    negative = tape.wide(width // 2)
    swapped = tape.wide(width)
    tape.free(negative)
    sines = tape.single(width)
    tape.free(swapped)
    result = tape.single(width)
    tape.free(cosines, sines)
    return result


def half_product(tape: Tape, width: int) -> Slot:
    """Return one half: two products and their difference."""
    first, second = tape.wide(width), tape.wide(width)
    result = tape.wide(width)
    tape.free(first, second)
    return result
