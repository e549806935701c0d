"""The MLP and the mixture of experts of one layer."""

from workshop_utils.memory.tensors.style import Style
from workshop_utils.memory.tensors.tape import Slot, Tape
from workshop_utils.models.architecture import DenseMlp, Experts

INDEX_BYTES = 8


def mlp(tape: Tape, style: Style, dense: DenseMlp) -> Slot:
    """Gate, activation, up, product, down: three tensors of the MLP's width at the fullest moment."""
    inner = dense.width
    if style.fused:
        both = tape.wide(2 * inner)
        active = tape.wide(inner)
        product = tape.wide(inner)
        tape.free(active)
        output = tape.wide(tape.width)
        tape.free(product, both)
        return output
    gate = tape.wide(inner)
    active = tape.wide(inner)
    tape.free(gate)
    product = active
    if dense.gated:
        up = tape.wide(inner)
        product = tape.wide(inner)
        tape.free(active, up)
    output = tape.wide(tape.width)
    tape.free(product)
    return output


def router(tape: Tape, kind: Experts, style: Style) -> tuple[Slot, Slot, Slot]:
    """Score the experts and take the best; returns the logits (kept to the end), weights and indices."""
    logits = tape.wide(kind.routed)
    wide = tape.single(kind.routed)
    scores = tape.single(kind.routed)
    tape.free(wide)
    best = tape.single(kind.active)
    index = tape.new(tape.tokens * kind.active * INDEX_BYTES)
    if not style.single_routing:
        cast = tape.wide(kind.active)
        tape.free(best)
        best = cast
    tape.free(scores)
    return logits, best, index


def sparse(tape: Tape, style: Style, kind: Experts, decoding: bool) -> Slot:
    """Run the experts of one layer and the shared ones beside them; the router's results go at the end."""
    if style.all_experts:
        return all_experts(tape, style, kind)
    logits, weights, index = router(tape, kind, style)
    result = (gathered if decoding else grouped)(tape, style, kind)
    if kind.shared:
        shared = DenseMlp(kind.shared * (kind.shared_width or kind.width))
        beside = mlp(tape, style, shared)
        total = tape.wide(tape.width)
        tape.free(result, beside)
        result = total
    tape.free(logits, weights, index)
    return result


def grouped(tape: Tape, style: Style, kind: Experts) -> Slot:
    """Sort the tokens by expert, run all experts in two products, and add up what each token gets back.

    A token is copied for each of its active experts, so that every tensor has tokens × active rows.
    Source: ``grouped_mm_experts_forward``, transformers/integrations/moe.py.
    """
    pairs, value = tape.tokens * kind.active, tape.value_bytes
    order, sorted_index = tape.new(pairs * INDEX_BYTES), tape.new(pairs * INDEX_BYTES)
    copies = tape.new(pairs * tape.width * value)
    small = (tape.new(pairs * value), tape.new(pairs * 4), tape.new(pairs))
    bias = tape.new(pairs * 2 * kind.width * value if kind.bias else 0)
    up = tape.new(pairs * 2 * kind.width * value)
    up_filled = tape.replace(up, tape.new(pairs * 2 * kind.width * value))
    product = (clamped_product if style.clamped_gate else gate_product)(tape, pairs * kind.width * value)
    tape.free(up_filled)
    down_bias = tape.replace(bias, tape.new(pairs * tape.width * value if kind.bias else 0))
    down = tape.new(pairs * tape.width * value)
    tape.free(product)
    filled = tape.replace(down, tape.new(pairs * tape.width * value))
    weighted_bytes = pairs * tape.width * (4 if style.single_routing else value)
    weighted = tape.new(weighted_bytes)
    inverse = tape.new(pairs * INDEX_BYTES)
    ordered = tape.replace(weighted, tape.new(weighted_bytes))
    output = summed(tape, style)
    tape.free(order, sorted_index, copies, *small, down_bias, filled, ordered, inverse)
    return output


def gathered(tape: Tape, style: Style, kind: Experts) -> Slot:
    """Copy the weights of every chosen expert for every token: how ``generate`` decodes.

    Source: ``batched_mm_experts_forward``; transformers switches to it after the prefill.
    """
    pairs, value = tape.tokens * kind.active, tape.value_bytes
    copies = tape.new(pairs * tape.width * value)
    up_weights = tape.new(pairs * 2 * kind.width * tape.width * value)
    up = tape.new(pairs * 2 * kind.width * value)
    product = tape.replace(up, gate_product(tape, pairs * kind.width * value))
    down_weights = tape.new(pairs * kind.width * tape.width * value)
    tape.free(up_weights)
    down = tape.replace(product, tape.new(pairs * tape.width * value))
    weighted = tape.new(pairs * tape.width * (4 if style.single_routing else value))
    output = summed(tape, style)
    tape.free(copies, down_weights, down, weighted)
    return output


def all_experts(tape: Tape, style: Style, kind: Experts) -> Slot:
    """Send every token through every expert (Llama 4), scaled by zero where the router did not choose it."""
    rows, value = tape.tokens * kind.routed, tape.value_bytes
    copies = tape.new(rows * tape.width * value)
    scaled = tape.replace(copies, tape.new(rows * tape.width * value))
    both = tape.new(rows * 2 * kind.width * value)
    product = gate_product(tape, rows * kind.width * value)
    down = tape.new(rows * tape.width * value)
    tape.free(product, both)
    output = mlp(tape, style, DenseMlp(kind.shared_width or kind.width))
    total = tape.wide(tape.width)
    tape.free(total, scaled, down)
    return output


def gate_product(tape: Tape, size: int) -> Slot:
    """Activate the gate and multiply it with the other half."""
    active = tape.new(size)
    product = tape.new(size)
    tape.free(active)
    return product


def clamped_product(tape: Tape, size: int) -> Slot:
    """gpt-oss: both halves clamped, the gate times the sigmoid of its multiple."""
    gate, up = tape.new(size), tape.new(size)
    multiple = tape.new(size)
    sigmoid = tape.replace(multiple, tape.new(size))
    linear = tape.replace(sigmoid, tape.new(size))
    shifted = tape.new(size)
    product = tape.new(size)
    tape.free(shifted, gate, up, linear)
    return product


def summed(tape: Tape, style: Style) -> Slot:
    """Add up the experts' outputs of each token, in the precision of the weights, and go back."""
    if not style.single_routing or tape.value_bytes == 4:
        return tape.wide(tape.width)
    single = tape.single(tape.width)
    return tape.replace(single, tape.wide(tape.width))
