"""The device map that Accelerate itself makes: ``get_balanced_memory`` and ``infer_auto_device_map``.

``from_pretrained(device_map="auto")`` uses transformers' copy of both; a test compares them.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.stages import decoder_layers
from workshop_utils.parallel.big_model.devices import DISK, HOST, DeviceSet, Key
from workshop_utils.parallel.big_model.module_sizes import tied_skeleton
from workshop_utils.parallel.big_model.placement import Placement, placement_of
from workshop_utils.units import format_gb

# "auto" is another name of "balanced" in accelerate 1.15 and transformers 5.17.
MAP_KINDS = ("balanced", "balanced_low_0", "sequential")
# One GPU alone keeps a tenth for everything else where nobody says how much it may take; so does transformers
# with the host's memory.
KEPT_SHARE = 0.9


def accelerate_map(
    model: str,
    devices: DeviceSet,
    *,
    kind: str = "balanced",
    max_memory: Mapping[Key, int] | None = None,
    dtype: str = "bfloat16",
) -> Placement:
    """Return where Accelerate puts the modules of ``model`` for these devices, real or imagined.

    ``max_memory`` in bytes takes the place of what each device has; a device left out gets nothing, the disk
    excepted, which takes what remains. Raises WorkshopError for an unknown kind or device, and for a GPU that
    is given less than one layer while layers are offloaded.
    """
    from accelerate.utils import get_balanced_memory, infer_auto_device_map

    if kind not in MAP_KINDS:
        raise WorkshopError(f"device map {kind!r} is not one of {', '.join(MAP_KINDS)}.")
    limits = default_limits(devices) if max_memory is None else checked_limits(max_memory, devices)
    skeleton = tied_skeleton(model, dtype)
    whole = sorted(skeleton._no_split_modules or ())
    with silent_about(devices):
        if kind != "sequential":
            low_zero = kind == "balanced_low_0"
            limits = get_balanced_memory(
                skeleton, max_memory=dict(limits), no_split_module_classes=whole, low_zero=low_zero
            )
        inferred = infer_auto_device_map(
            skeleton, max_memory={**limits, DISK: devices.disk.free_bytes}, no_split_module_classes=whole
        )
    placement = placement_of(skeleton, inferred, devices)
    if max_memory is not None:
        check_room(placement, max_memory, skeleton, devices)
    return placement


@contextmanager
def silent_about(devices: DeviceSet) -> Iterator[None]:
    """Keep Accelerate from warning that imagined GPUs are not there."""
    logger = logging.getLogger("accelerate.utils.modeling")
    before = logger.level
    with warnings.catch_warnings():
        # Rotary tables of some hundred bytes, which it thinks fit no GPU.
        warnings.filterwarnings("ignore", message="Current model requires .* bytes of buffer")
        if devices.imagined:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(before)


def default_limits(devices: DeviceSet) -> dict[Key, int]:
    """Return what ``from_pretrained`` takes where nobody says: all, less a tenth of a lone GPU and host."""
    limits = devices.max_memory()
    if len(devices.gpus) == 1:
        limits[0] = int(limits[0] * KEPT_SHARE)
    return limits | {HOST: int(limits[HOST] * KEPT_SHARE)}


def checked_limits(max_memory: Mapping[Key, int], devices: DeviceSet) -> dict[Key, int]:
    """Return ``max_memory`` in Accelerate's order; WorkshopError for a device or size that cannot be."""
    for key, size in max_memory.items():
        devices.find(key)
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise WorkshopError(
                f"max_memory of device {key!r} is {size!r}; give whole bytes, for example 10**10."
            )
    return {device.key: max_memory[device.key] for device in devices.all if device.key in max_memory}


def check_room(
    placement: Placement, max_memory: Mapping[Key, int], skeleton: Any, devices: DeviceSet
) -> None:
    """Raise WorkshopError where layers are offloaded although a GPU was named, which is too small for one.

    Accelerate keeps room for one offloaded layer on the first GPU, which so needs that of two.
    """
    name, largest = largest_layer(skeleton)
    not_on_gpus = placement.bytes_by_device[HOST] + placement.bytes_by_device[DISK]
    for gpu in devices.gpus:
        size = max_memory.get(gpu.key, 0)
        needed = largest * 2 if gpu.key == devices.main.key else largest
        if not_on_gpus and size and not placement.bytes_by_device[gpu.key] and size < needed:
            why = ", twice, because offloaded layers come there for their turn," if needed > largest else ""
            raise WorkshopError(
                f"max_memory gives {gpu.label} {format_gb(size)}, too little for one layer: {name} is "
                f"{format_gb(largest)}{why} and {format_gb(needed - size)} are missing. Give it more, "
                "or leave it out."
            )


def largest_layer(skeleton: Any) -> tuple[str, int]:
    """Return the name and the bytes of the largest decoder layer."""
    path, layers = decoder_layers(skeleton)
    sizes = [sum(parameter.nbytes for parameter in layer.parameters()) for layer in layers]
    number = max(range(len(sizes)), key=sizes.__getitem__)
    return f"{path}.{number}", sizes[number]
