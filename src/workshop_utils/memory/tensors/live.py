"""The fullest moment of a pass: a sum of the tensors alive, before any allocator."""

from collections.abc import Iterator
from functools import lru_cache
from operator import attrgetter, mul
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


def fullest(forward: Forward, order: tuple[int, ...], cached_before: int) -> tuple[Moment, int]:
    """Return the fullest moment of a pass that begins with ``cached_before`` bytes, and its cache after.

    ``order`` says of each layer which kind it is.
    """
    opening, kinds = forward.opening, forward.kinds
    found = [Moment(cached_before, 0, 0, opening.most_bytes, None)]
    lasting = opening.kept_bytes - opening.mask_bytes
    growth = [tape.growth_bytes for tape in kinds]
    sent = [sum(sizes) for sizes in forward.sent] or [0] * len(kinds)
    most = -1
    for number, counts in last_places(order) if min(growth, default=0) >= 0 else all_places(order):
        tape = kinds[order[number]]
        cache = cached_before + sum(map(mul, counts, growth))
        beside = lasting + (kinds[order[number - 1]].output_bytes if number else opening.hidden_bytes)
        inside = tape.most_bytes - tape.growth_bytes + sent[order[number]]
        if cache + beside + inside > most:
            most = cache + beside + inside
            fullest_layer = Moment(cache, opening.mask_bytes, beside, inside, number)
    hidden = opening.hidden_bytes
    if order:
        found.append(fullest_layer)
        hidden = kinds[order[-1]].output_bytes
    cached_after = cached_before + sum(map(mul, totals(order), growth))
    found += ends(forward, cached_after, lasting + hidden)
    return max(found, key=attrgetter("bytes")), cached_after


# The number of a layer, and how many layers of each kind there are up to it, itself included.
Place = tuple[int, tuple[int, ...]]


@lru_cache(maxsize=1024)
def all_places(order: tuple[int, ...]) -> tuple[Place, ...]:
    """Return the place of every layer."""
    counts, places = [0] * (max(order, default=-1) + 1), []
    for number, kind in enumerate(order):
        counts[kind] += 1
        places.append((number, tuple(counts)))
    return tuple(places)


@lru_cache(maxsize=1024)
def last_places(order: tuple[int, ...]) -> tuple[Place, ...]:
    """Return the place of the last layer of each kind, the fullest of them where the cache only grows."""
    last = {kind: place for kind, place in zip(order, all_places(order), strict=True)}
    return tuple(sorted(last.values()))


def totals(order: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many layers there are of each kind."""
    return all_places(order)[-1][1] if order else ()


def ends(forward: Forward, cache: int, beside: int) -> Iterator[Moment]:
    """Yield the moments after the last layer."""
    if forward.norm and forward.logits:
        yield Moment(cache, forward.opening.mask_bytes, beside, forward.norm.most_bytes, None)
        yield Moment(cache, 0, forward.norm.kept_bytes, forward.logits.most_bytes, None)
