"""Where the modules of a model stand, and what a token therefore does: bytes, copies, hops."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.stages import decoder_layers
from workshop_utils.parallel.big_model.devices import DISK, HOST, DeviceSet, Key


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


def placement_of(skeleton: Any, modules: Mapping[str, Key], devices: DeviceSet) -> Placement:
    """Return what a device map means for this model."""
    sizes: Counter[Key] = Counter()
    for name, parameter in skeleton.named_parameters():  # a tied one once, under its first name
        sizes[home_of(name, modules)] += parameter.nbytes
    path, layers = decoder_layers(skeleton)
    names = {id(module): name for name, module in skeleton.named_modules()}
    embedding = home_of(names[id(skeleton.get_input_embeddings())], modules)
    head = skeleton.get_output_embeddings()
    main: Key = main_of(modules)
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


def main_of(modules: Mapping[str, Key]) -> Key:
    """Return what runs the parts on the host and the disk: the first GPU that the map uses, else the host.

    That is accelerate's choice (``dispatch_model``, big_modeling.py): a GPU that holds nothing runs nothing.
    """
    return min((home for home in modules.values() if isinstance(home, int)), default=HOST)


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
