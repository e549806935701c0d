"""Notebook 07: device maps in words, and what Accelerate's kinds of map do with imagined GPUs."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from workshop_utils.lessons.table import Table
from workshop_utils.measure.shape_twin import twin_config
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.models.quiet import quiet_torchao
from workshop_utils.parallel.big_model.devices import DISK, HOST, Key, imagined_devices
from workshop_utils.parallel.big_model.maps import MAP_KINDS, accelerate_map
from workshop_utils.parallel.big_model.placement import Placement, home_of
from workshop_utils.units import GB, format_gb

LAYER = re.compile(r"\.layers\.(\d+)(\..+)?$")
NAMES = {"embed_tokens": "embedding", "norm": "norm", "lm_head": "head"}
# Tables of sines and cosines: no weights, and a row of their own would tell nothing.
WITHOUT_WEIGHTS = ("rotary_emb",)
BFLOAT16_BYTES = 2


def shape_config(model: str) -> Any:
    """Return transformers' own config of a catalogue model: nothing is downloaded."""
    quiet_torchao()
    from transformers import CONFIG_MAPPING

    fields = dict(twin_config(model).fields)
    return CONFIG_MAPPING[fields["model_type"]].from_dict(fields)


def size_words(size_bytes: float) -> str:
    """Return decimal GB, below one in whole MB: the small model is half a gigabyte."""
    return f"{size_bytes / 10**6:.0f} MB" if size_bytes < GB else format_gb(size_bytes)


def device_words(key: Key) -> str:
    """Return what a map's key means: ``GPU 0``, ``host memory``, ``disk``."""
    return f"GPU {key}" if isinstance(key, int) else {HOST: "host memory", DISK: "disk"}.get(key, key)


def torn_layers(modules: Mapping[str, Key]) -> tuple[int, ...]:
    """Return the layers of which one device holds a part and another the rest."""
    homes: dict[int, set[Key]] = defaultdict(set)
    for name, device in modules.items():
        if found := LAYER.search(name):
            homes[int(found[1])].add(device)
    return tuple(number for number, devices in homes.items() if len(devices) > 1)


def parts_by_device(modules: Mapping[str, Key]) -> dict[Key, str]:
    """Return what each device of a map holds, as in ``embedding, layers 0–4``."""
    layers: dict[Key, list[int]] = defaultdict(list)
    others: dict[Key, list[str]] = defaultdict(list)
    torn = torn_layers(modules)
    for name, device in modules.items():
        found, last = LAYER.search(name), name.rpartition(".")[2]
        if found and int(found[1]) in torn:
            others[device].append(f"{found[2].lstrip('.')} of layer {found[1]}" if found[2] else found[1])
        elif found and int(found[1]) not in layers[device]:
            layers[device].append(int(found[1]))
        elif not found and last not in WITHOUT_WEIGHTS:
            others[device].append(NAMES.get(last, last or "everything"))
    keys = dict.fromkeys(modules.values())
    return {key: ", ".join([*runs(layers[key]), *others[key]]) for key in keys}


def runs(numbers: Iterable[int]) -> list[str]:
    """Return numbers in ascending order as runs: ``layers 0–4``, ``layer 7``."""
    words = []
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        found = [number for _, number in group]
        words.append(f"layers {found[0]}–{found[-1]}" if len(found) > 1 else f"layer {found[0]}")
    return words


def bytes_by_device(model: Any, modules: Mapping[str, Key]) -> dict[Key, int]:
    """Return the bytes of weights on each device of a map; a tied tensor counts once."""
    sizes: dict[Key, int] = dict.fromkeys(modules.values(), 0)
    for name, parameter in model.named_parameters():
        sizes[home_of(name, modules)] += parameter.nbytes
    return sizes


def map_table(model: Any, modules: Mapping[str, Key], caption: str = "") -> Table:
    """Return a row for each device of the map ``modules``, as ``infer_auto_device_map`` returns it."""
    sizes = bytes_by_device(model, modules)
    rows = [
        (device_words(key), parts, size_words(sizes[key])) for key, parts in parts_by_device(modules).items()
    ]
    whole = f"Weights: {size_words(sum(sizes.values()))} in all."
    return Table(("device", "holds", "weights"), rows, f"{whole} {caption}".strip(), text_columns=2)


def kinds_table(model: str, *device_sets: str) -> Table:
    """Return what each kind of map puts where, for GPUs that need not be here."""
    rows = []
    for text in device_sets:
        devices = imagined_devices(text)
        for kind in MAP_KINDS:
            placement = accelerate_map(model, devices, kind=kind)
            sizes = (placement.bytes_by_device[gpu.key] / GB for gpu in devices.gpus)
            rows.append(
                (
                    text,
                    kind,
                    " + ".join(f"{size:.1f}" for size in sizes),
                    away(placement),
                    f"{placement.hops}",
                )
            )
    total = count_parameters(find_architecture(model)).total * BFLOAT16_BYTES
    caption = (
        f"{model} in bfloat16, {size_words(total)}, laid out by Accelerate for GPUs that were imagined: "
        "planned, not run here. “auto” is “balanced”. A hop: hidden states go to another GPU."
    )
    headers = ("GPUs", "device_map", "GB on each GPU", "offloaded", "hops a token")
    return Table(headers, rows, caption, text_columns=4)


def away(placement: Placement) -> str:
    """Return what is copied to a GPU for every token, in words."""
    if not placement.offloaded_bytes:
        return "nothing"
    head = " (the head)" if placement.head in {HOST, DISK} and HOST not in placement.layers else ""
    return f"{size_words(placement.offloaded_bytes)}{head}"
