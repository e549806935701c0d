"""The device map that Accelerate itself makes: ``get_balanced_memory`` and ``infer_auto_device_map``.

``from_pretrained(device_map="auto")`` uses transformers' copy of both; a test compares them.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.shape_twin import build_skeleton
from workshop_utils.measure.stages import decoder_layers
from workshop_utils.parallel.big_model.devices import DISK, HOST, DeviceSet, Key
from workshop_utils.units import format_gb

# "auto" is another name of "balanced" in accelerate 1.15 and transformers 5.17.
MAP_KINDS = ("balanced", "balanced_low_0", "sequential")
# One GPU alone keeps a tenth for everything else where nobody says how much it may take; so does transformers
# with the host's memory.
KEPT_SHARE = 0.9


@dataclass(frozen=True)
class Placement:
    """Which device holds which part of a model, in bytes of weights; keys as in a ``device_map``.

    ``layers``: the home of each decoder layer in order. ``head``: the home of the output head. ``main`` runs
    what lies on the host or the disk, one module at a time, of which ``largest_moved_bytes`` is the largest;
    ``moved_by_device`` is what is copied for a token, a tied tensor for the embedding and again for the head.
    """

    modules: Mapping[str, Key]
    layers: tuple[Key, ...]
    embedding: Key
    head: Key
    main: Key
    bytes_by_device: Mapping[Key, int]
    moved_by_device: Mapping[Key, int]
    largest_moved_bytes: int

    @property
    def used(self) -> tuple[Key, ...]:
        """The devices that hold anything, in Accelerate's order."""
        return tuple(key for key, size in self.bytes_by_device.items() if size)

    @property
    def offloaded_bytes(self) -> int:
        """What lies elsewhere than where it runs."""
        away = {HOST, DISK} - {self.main}
        return sum(size for key, size in self.bytes_by_device.items() if key in away)

    def runs_on(self, home: Key) -> Key:
        """Return the device that computes what lies on ``home``."""
        return self.main if home in {HOST, DISK} else home

    @property
    def hops(self) -> int:
        """How often a token's hidden states change the device on their way, back to the start included."""
        way = [self.runs_on(home) for home in (self.embedding, *self.layers, self.head)]
        way.append(way[0])
        return sum(before != after for before, after in pairwise(way))


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


@lru_cache(maxsize=8)
def tied_skeleton(model: str, dtype: str) -> Any:
    """Return the model on the meta device, tied tensors being one; any attention will do, none runs."""
    skeleton = build_skeleton(model, dtype=dtype, attention="eager")
    skeleton.tie_weights()
    return skeleton


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
    for gpu in devices.gpus:
        size = max_memory.get(gpu.key, 0)
        needed = largest * 2 if gpu.key == devices.main.key else largest
        if placement.offloaded_bytes and size and not placement.bytes_by_device[gpu.key] and size < needed:
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


@dataclass(frozen=True)
class ModuleSizes:
    """Bytes of the weights in the order in which Accelerate lays them out.

    ``before`` the layers (embedding, image tower), each layer, ``after`` them (norm, an untied head).
    ``head``: the output head, tied or not. ``largest_behind``: the largest module that may follow a layer.
    """

    before: int
    layers: tuple[int, ...]
    after: int
    head: int
    largest_behind: int


@lru_cache(maxsize=64)
def module_sizes(model: str, dtype: str) -> ModuleSizes:
    """Return the sizes of a model's parts."""
    skeleton = tied_skeleton(model, dtype)
    path, layers = decoder_layers(skeleton)
    sizes = [0] * len(layers)
    before = after = last = 0
    for name, parameter in skeleton.named_parameters():
        if name.startswith(f"{path}."):
            sizes[int(name.removeprefix(f"{path}.").partition(".")[0])] += parameter.nbytes
            last = 0
        elif sizes[0]:
            after, last = after + parameter.nbytes, max(last, parameter.nbytes)
        else:
            before += parameter.nbytes
    output = skeleton.get_output_embeddings()
    head = sum(parameter.nbytes for parameter in output.parameters()) if output is not None else 0
    return ModuleSizes(before, tuple(sizes), after, head, max(last, *sizes))


def placement_of(skeleton: Any, modules: Mapping[str, Key], devices: DeviceSet) -> Placement:
    """Return what a device map means for this model."""
    sizes: Counter[Key] = Counter()
    for name, parameter in skeleton.named_parameters():  # a tied one once, under its first name
        sizes[home_of(name, modules)] += parameter.nbytes
    path, layers = decoder_layers(skeleton)
    names = {id(module): name for name, module in skeleton.named_modules()}
    embedding = home_of(names[id(skeleton.get_input_embeddings())], modules)
    head = skeleton.get_output_embeddings()
    main = devices.main.key
    moved: dict[Key, list[int]] = {HOST: [], DISK: []}
    for name, size in modules_with_parameters(skeleton):
        home = home_of(name, modules)
        if home in moved and home != main:
            moved[home].append(size)
    return Placement(
        modules=dict(modules),
        layers=tuple(home_of(f"{path}.{number}", modules) for number in range(len(layers))),
        embedding=embedding,
        head=embedding if head is None else home_of(names[id(head)], modules),
        main=main,
        bytes_by_device={device.key: sizes[device.key] for device in devices.all},
        moved_by_device={home: sum(sizes) for home, sizes in moved.items()},
        largest_moved_bytes=max([*moved[HOST], *moved[DISK]], default=0),
    )


def modules_with_parameters(skeleton: Any) -> Iterator[tuple[str, int]]:
    """Yield the modules that hold parameters themselves, with their bytes: hooks move these one by one."""
    for name, module in skeleton.named_modules():
        size = sum(parameter.nbytes for parameter in module.parameters(recurse=False))
        if size:
            yield name, size


def home_of(name: str, modules: Mapping[str, Key]) -> Key:
    """Return the device of the module or parameter ``name``: that of its longest ancestor in the map."""
    while name not in modules:
        if not name:
            raise WorkshopError("the device map does not cover the whole model; add an entry ''.")
        name = name.rpartition(".")[0]
    return modules[name]
