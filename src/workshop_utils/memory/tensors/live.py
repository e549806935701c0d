"""The fullest moment of a pass: a sum of the tensors alive, before any allocator."""

from collections.abc import Iterator
from typing import NamedTuple

from workshop_utils.memory.tensors.forward import Forward


class Moment(NamedTuple):
    """Bytes alive beside the weights at one moment of a pass.

    ``cache``: K and V as they stand then. ``masks`` and ``beside`` (inputs, embedding, rotary tables, the
    layer's input) last longer than a layer, ``inside`` is what one layer or the end of the model makes.
    ``layer`` is its number, None outside the layers.
    """

    cache: int
    masks: int
    beside: int
    inside: int
    layer: int | None

    @property
    def bytes(self) -> int:
        return self.cache + self.masks + self.beside + self.inside


def fullest(forward: Forward, cached_before: int) -> tuple[Moment, int]:
    """Return the fullest moment of a pass that begins with ``cached_before`` bytes, and its cache after."""
    opening = forward.opening
    cache, hidden, found = cached_before, opening.hidden_bytes, []
    lasting = opening.kept_bytes - opening.mask_bytes
    found.append(Moment(cache, 0, 0, opening.most_bytes, None))
    best, most = 0, -1
    for number, kind in enumerate(forward.order):
        tape = forward.kinds[kind]
        cache += tape.growth_bytes
        alive = cache + hidden + tape.most_bytes - tape.growth_bytes
        if alive > most:
            best, most = number, alive
            at_best = (cache, lasting + hidden, tape.most_bytes - tape.growth_bytes)
        hidden = tape.output_bytes
    if forward.order:
        found.append(Moment(at_best[0], opening.mask_bytes, at_best[1], at_best[2], best))
    found += ends(forward, cache, lasting + hidden)
    return max(found, key=lambda moment: moment.bytes), cache


def ends(forward: Forward, cache: int, beside: int) -> Iterator[Moment]:
    """Yield the moments after the last layer."""
    if forward.norm and forward.logits:
        yield Moment(cache, forward.opening.mask_bytes, beside, forward.norm.most_bytes, None)
        yield Moment(cache, 0, forward.norm.kept_bytes, forward.logits.most_bytes, None)
