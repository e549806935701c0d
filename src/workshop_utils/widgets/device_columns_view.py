"""The model in columns of devices, as HTML: layers as boxes, what comes on top of them, what a device has."""

from collections.abc import Sequence
from html import escape

from workshop_utils.memory.term import Kind
from workshop_utils.parallel.big_model.advice import milliseconds
from workshop_utils.parallel.big_model.devices import PlacementDevice
from workshop_utils.units import format_gb, format_gib
from workshop_utils.widgets.device_map_explorer_result import Column, Explored
from workshop_utils.widgets.style import KIND_WORDS, KINDS, box_html, chip_html

HEIGHT = 340  # pixels of a full column; the style sheet leaves room for the line above it
LABELLED, READABLE = 9.5, 22  # pixels that a box must have for its number, and a kind for its name
# A model that is small beside its GPUs is drawn larger, and their capacity lies beyond the top.
MOST_ROOM = 3
# Up to here host and disk stretch the scale of all columns, beyond they are drawn on one of their own.
STRETCH = 1.5
UNBROKEN_DASH = "\u2060–\u2060"


def columns_html(explored: Explored) -> str:
    """Return the verdict, one column a device on one scale, and the legend."""
    columns = explored.columns
    scale = scale_of(columns)
    drawn = "".join(column_html(column, scale) for column in columns)
    kinds = [kind for kind in KINDS if any(kind in column.sizes for column in columns)]
    legend = "".join(f"<span>{chip_html(kind)}{KIND_WORDS[kind]}</span>" for kind in kinds)
    if explored.fit.placement.offloaded_bytes:
        legend += "<span><i>moved</i>: one offloaded module, copied in for its turn</span>"
    return box_html(
        verdict_html(explored, columns),
        f'<div class="devices" style="--devices:{len(columns)}">{drawn}</div>',
        f'<div class="legend">{legend}<span><b>┄</b> end of what the device has free</span></div>',
    )


def verdict_html(explored: Explored, columns: Sequence[Column]) -> str:
    """Say whether every device holds what is predicted for it, and which does not."""
    asked = explored.asked
    load = f"{asked.tokens:,} tokens × batch {asked.batch:,}"
    lacking = [
        f"{column.name} {format_gib(column.excess_bytes)}" for column in columns if column.excess_bytes
    ]
    if not lacking:
        away = explored.fit.placement.offloaded_bytes
        slow = f", but copies {format_gib(away)} for every token: {milliseconds(explored.tpot.ms)} each"
        cost = slow if away else ""
        unused = sum(not column.sizes for column in columns if isinstance(column.device.key, int))
        spare = f" {unused} of {len(asked.devices.gpus)} GPUs stay empty." if unused else ""
        return f'<div class="holds" role="status"><b>✓ This map holds</b> at {load}{cost}.{spare}</div>'
    way = (
        "The map <i>fitting</i> leaves room for them." if asked.devices.gpus else "Take a smaller precision."
    )
    return (
        f'<div class="fails" role="status"><b>✗ This map does not hold</b> at {load}. Too much on '
        f"{escape('; '.join(lacking))}. Accelerate counts weights alone; cache, activations and the CUDA "
        f"context come on top. {way}</div>"
    )


def scale_of(columns: Sequence[Column]) -> int:
    """Return the bytes of a full column: the largest GPU, or the host where there is none."""
    computing = [column for column in columns if isinstance(column.device.key, int)] or columns[:1]
    needed = max(column.total_bytes for column in computing)
    room = max(column.device.free_bytes for column in computing)
    scale = max(needed, min(room, MOST_ROOM * needed), 1)
    fullest = max(column.total_bytes for column in columns)
    return fullest if scale < fullest <= STRETCH * scale else scale


def column_html(column: Column, scale: int) -> str:
    """Return one device; one that holds more than the scale is drawn smaller, and says so."""
    smaller = max(1, -(-column.total_bytes // scale))
    shown, device = scale * smaller, column.device
    room, line = "100%", ""
    if device.free_bytes <= shown:
        room = f"{device.free_bytes / shown * HEIGHT:.0f}px"
        line = f'<span class="limit" style="bottom:{room}"></span>'
    tower = f'<span class="room" style="height:{room}"></span>{stack_html(column, shown)}{line}'
    times = f"<br>drawn {smaller} times smaller" if smaller > 1 else ""
    parts = column.parts.replace("–", UNBROKEN_DASH)
    room_of = room_words(device)
    held = f"<b>{format_gib(column.total_bytes)}</b> of {room_of}" if column.sizes else room_of
    kind = device.gpu.name if device.gpu else ("" if device.label == column.name else device.label)
    return (
        f'<div class="device{" over" if column.excess_bytes else ""}">'
        f'<div class="name">{escape(column.name)}<span class="quiet">{escape(kind)}</span></div>'
        f'<div class="mark">{mark(column)}</div>'
        f'<div class="tower" role="img" aria-label="{escape(spoken(column))}">{tower}</div>'
        f"<div>{held}</div>"
        f'<div class="quiet">{escape(parts)}{times}</div></div>'
    )


def mark(column: Column) -> str:
    """Return the verdict on one device in words."""
    if column.excess_bytes:
        return f"✗ does not fit: {format_gib(column.excess_bytes)} too much"
    return "✓ holds" if column.sizes else "empty"


def room_words(device: PlacementDevice) -> str:
    """Return what a device has free, and in all where others hold a part of it."""
    free = format_gib(device.free_bytes)
    total = format_gib(device.total_bytes)
    return free if free == total else f"{free} free ({total} in all)"


def stack_html(column: Column, shown: int) -> str:
    """Return the boxes of the map from the bottom up, and what it does not count above them."""
    per_byte = HEIGHT / shown
    boxes = [
        piece_html("weights", box.bytes * per_byte, box.short, f"{box.name}: {format_gb(box.bytes)}")
        for box in column.boxes
    ]
    moved = column.sizes.get("weights", 0) - sum(box.bytes for box in column.boxes)
    if moved > 0:
        words = f"one offloaded module at a time: {format_gb(moved)}"
        boxes.append(piece_html("weights", moved * per_byte, "moved", words, "moved"))
    for kind, size in column.sizes.items():
        if kind != "weights":
            short = {"kv_cache": "KV cache"}.get(kind, kind)
            words = f"{KIND_WORDS[kind]}: {format_gb(size)}"
            boxes.append(piece_html(kind, size * per_byte, short, words))
    return f'<span class="stack">{"".join(boxes)}</span>'


def piece_html(kind: Kind, height: float, short: str, words: str, extra: str = "") -> str:
    """Return one piece of a column; its short name only where there is room."""
    label = escape(short) if height >= (LABELLED if kind == "weights" else READABLE) else ""
    return (
        f'<span class="kind-{kind} {extra}" title="{escape(words)}" '
        f'style="height:{height:.2f}px;line-height:{height:.2f}px">{label}</span>'
    )


def spoken(column: Column) -> str:
    """Return a column for who does not see it."""
    sizes = "; ".join(f"{KIND_WORDS[kind]} {format_gib(size)}" for kind, size in column.sizes.items())
    held = f"{column.parts or 'nothing'}. {sizes}" if sizes else "nothing of the model"
    return f"{column.name}: {held}. {mark(column)}, {format_gib(column.device.free_bytes)} free."
