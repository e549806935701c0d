"""The way of a token over the devices, and the map as Python text."""

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

from workshop_utils.parallel.big_model.devices import HOST, Key
from workshop_utils.parallel.big_model.placement import Placement
from workshop_utils.units import format_gib
from workshop_utils.widgets.device_map_explorer_result import Explored, parts_words
from workshop_utils.widgets.style import box_html
from workshop_utils.widgets.words import plural

NUMBERED = re.compile(r"(.*\.)(\d+)")
SHORTEST_RANGE = 3


class Stop(NamedTuple):
    """Parts that follow one another on one home; ``hop`` numbers the change of device before them, else 0."""

    home: Key
    runs_on: Key
    words: str
    hop: int


def path_html(explored: Explored) -> str:
    """Return the stops in order, the changes of device numbered, and how many they are in words."""
    placement = explored.fit.placement
    stops = stops_of(placement)
    items = "".join(stop_html(stop) for stop in stops)
    if placement.runs_on(placement.head) != placement.runs_on(placement.embedding):
        back = name_of(placement.runs_on(placement.embedding))
        stop = f'<span class="stop">the new token goes back to {back}</span>'
        items += f"<li>{arrow_html(placement.hops)}{stop}</li>"
    return box_html(
        f'<h4>The way of a token</h4><ol class="path">{items}</ol><p>{escape(way_words(placement))}</p>'
    )


def stops_of(placement: Placement) -> list[Stop]:
    """Return the stops of a token from the embedding to the head."""
    homes = [placement.embedding, *placement.layers, placement.head]
    last = len(homes) - 1
    stops: list[Stop] = []
    start = hops = 0
    for number in range(1, len(homes) + 1):
        if number <= last and homes[number] == homes[start]:
            continue
        here = placement.runs_on(homes[start])
        changed = bool(stops) and stops[-1].runs_on != here
        hops += changed
        layers = [n - 1 for n in range(start, number) if 0 < n < last]
        words = parts_words(start == 0, layers, number > last)
        stops.append(Stop(homes[start], here, words, hops if changed else 0))
        start = number
    return stops


def stop_html(stop: Stop) -> str:
    """Return one stop: who computes, what, and where its weights come from."""
    away = stop.home != stop.runs_on
    words = f"{name_of(stop.runs_on)}: {stop.words}"
    if away:
        words += f", from {name_of(stop.home)}"
    before = arrow_html(stop.hop) if stop.hop else ('<span class="hop">then</span>' if away else "")
    return f'<li>{before}<span class="stop{" away" if away else ""}">{escape(words)}</span></li>'


def arrow_html(number: int) -> str:
    return f'<span class="hop" role="img" aria-label="change {number}:">{number} →</span>'


def name_of(key: Key) -> str:
    """Return a device in words."""
    if isinstance(key, int):
        return f"GPU {key}"
    return "host memory" if key == HOST else key


def way_words(placement: Placement) -> str:
    """Say how often a token changes the device, and what is copied for each."""
    here = "the CPU" if placement.main == HOST else f"GPU {placement.main}"
    if placement.hops:
        words = f"A token changes the device {plural(placement.hops, 'time')}."
    else:
        only = placement.runs_on(placement.embedding)
        words = (
            f"A token changes no device: all is computed on {'the CPU' if only == HOST else name_of(only)}."
        )
    if placement.offloaded_bytes:
        words += (
            f" {format_gib(placement.offloaded_bytes)} of weights lie elsewhere and are copied to {here} for "
            "every single token."
        )
    return words


def map_html(explored: Explored, opened: bool) -> str:
    """Return the map as Python text, which one click selects; ``opened`` unfolds it."""
    text = map_text(explored.fit.placement.modules, explored.fit.max_memory)
    return box_html(
        f"<details{' open' if opened else ''}><summary>The <code>device_map</code> as Python text</summary>"
        '<div class="quiet">Click into it to select it all. <code>from_pretrained(…, device_map=device_map)'
        "</code> takes it as it is; <code>max_memory</code> is what led Accelerate to it.</div>"
        f'<pre class="map" tabindex="0" aria-label="device map as Python text">{escape(text)}</pre></details>'
    )


def map_text(modules: Mapping[str, Key], max_memory: Mapping[Key, int]) -> str:
    """Return Python that makes ``max_memory`` (bytes) and ``device_map``, runs of layers as ranges."""
    limits = ", ".join(f"{key!r}: {size}" for key, size in max_memory.items())
    entries = "".join(f"    {entry},\n" for entry in entries_of(modules))
    return f"max_memory = {{{limits}}}  # bytes\ndevice_map = {{\n{entries}}}\n"


def entries_of(modules: Mapping[str, Key]) -> Iterator[str]:
    """Yield the entries of a dict display in order; three or more numbered modules in a row as one."""
    waiting: list[tuple[str, int, Key]] = []
    for name, key in modules.items():
        found = NUMBERED.fullmatch(name)
        entry = (found[1], int(found[2]), key) if found else None
        if entry and waiting and entry == (waiting[0][0], waiting[-1][1] + 1, waiting[0][2]):
            waiting.append(entry)
            continue
        yield from run_of(waiting)
        waiting = [entry] if entry else []
        if not entry:
            yield f"{name!r}: {key!r}"
    yield from run_of(waiting)


def run_of(run: list[tuple[str, int, Key]]) -> Iterator[str]:
    """Yield a run of numbered modules as one entry, or singly where it is short."""
    if len(run) < SHORTEST_RANGE:
        yield from (f"{f'{stem}{number}'!r}: {key!r}" for stem, number, key in run)
        return
    (stem, first, key), last = run[0], run[-1][1]
    stem = stem.replace("{", "{{").replace("}", "}}")
    yield f"**{{f{stem + '{n}'!r}: {key!r} for n in range({first}, {last + 1})}}"
