"""Multi-head latent attention: the cache holds latents, from which every pass makes all K and V."""

from workshop_utils.memory.tensors.attention import Pass
from workshop_utils.memory.tensors.norms import norm
from workshop_utils.memory.tensors.style import Style
from workshop_utils.memory.tensors.tape import Slot, Tape
from workshop_utils.models.architecture import LatentAttention


def latent_attention(
    tape: Tape, mixer: LatentAttention, style: Style, now: Pass, cached: tuple[Slot, ...]
) -> tuple[Slot, tuple[Slot, ...]]:
    """Run latent attention on an input that the caller frees; returns output and the slots of the cache."""
    head = mixer.plain_dim + mixer.rotary_dim
    query = projected_query(tape, mixer, style)
    compressed = tape.wide(mixer.kv_rank + mixer.rotary_dim)
    latent = norm(tape, style, mixer.kv_rank)
    turned_query, turned_key = turned(tape, mixer)
    full = updated(tape, mixer, now, cached)
    tape.free(latent, turned_key)
    joined = tape.wide(mixer.heads * head)
    keys = now.batch * now.keys(None) * mixer.heads * tape.value_bytes
    expanded = tape.new(keys * (mixer.plain_dim + mixer.value_dim))
    key = tape.new(keys * head)
    output = tape.wide(mixer.heads * mixer.value_dim)
    # Heads of K and V differ in tape.width, so the kernel gives its result back head by head.
    output = tape.replace(output, tape.wide(mixer.heads * mixer.value_dim))
    result = tape.wide(tape.width)
    tape.free(output, query, turned_query, compressed, joined, expanded, key)
    return result, full


def projected_query(tape: Tape, mixer: LatentAttention, style: Style) -> Slot:
    """Project Q, by way of a latent of its own where it has one."""
    width = mixer.heads * (mixer.plain_dim + mixer.rotary_dim)
    if not mixer.query_rank:
        return tape.wide(width)
    down = tape.wide(mixer.query_rank)
    normed = tape.replace(down, norm(tape, style, mixer.query_rank))
    return tape.replace(normed, tape.wide(width))


def turned(tape: Tape, mixer: LatentAttention) -> tuple[Slot, Slot]:
    """Turn the rotary part of Q and K as complex numbers in float32."""
    widths = (mixer.heads * mixer.rotary_dim, mixer.rotary_dim)
    singles = [tape.single(width) for width in widths]
    results = []
    for width in widths:
        product = tape.single(width)
        results.append(tape.replace(product, tape.wide(width)))
    tape.free(*singles)
    return results[0], results[1]


def updated(tape: Tape, mixer: LatentAttention, now: Pass, cached: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """Put the latent and the rotary key of the new tokens behind those of the cache."""
    length = now.reserved or now.keys(None)
    if now.reserved is not None and cached:
        return cached
    slots = []
    for index, width in enumerate((mixer.kv_rank, mixer.rotary_dim)):
        slots.append(tape.new(now.batch * length * width * tape.value_bytes))
        tape.free(*cached[index : index + 1])
    return tuple(slots)
