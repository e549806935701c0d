"""The devices on which a model may be laid out: GPUs, host memory and disk, of this machine or imagined."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu, find_gpu
from workshop_utils.hardware.machine import InstalledGpu, find_machine
from workshop_utils.measure.bench_memory_machine import catalogue_entry, visible
from workshop_utils.memory.process import process_term
from workshop_utils.monitor.host import Host
from workshop_utils.storage import cache_folder, free_bytes
from workshop_utils.units import GB, GIB, format_gib

Key = int | str
HOST, DISK = "cpu", "disk"
MOST_GPUS = 64
# More digits than any count has are no count: int() refuses some thousands of them.
PART = re.compile(r"(?:(\d{1,6})\s*[x×*]\s*)?(\S.*)", re.IGNORECASE)
# What a count and a type have between them: whoever wrote one of these meant more than a type.
BETWEEN = re.compile(r"[\sx×*;]", re.IGNORECASE)
LONGEST_NAME = 60
EXAMPLE = "write for example '4 x A40', or '2 x H100-80GB + 1 x A40'"


@dataclass(frozen=True, slots=True)
class PlacementDevice:
    """A place for layers; ``key`` is what a ``device_map`` calls it: 0, 1, … for GPUs, ``cpu``, ``disk``.

    ``total_bytes``: what programs can have in all; ``free_bytes``: what a new process can still have, its own
    CUDA context included. ``gpu`` is the catalogue's type, None for the host, the disk and unknown types.
    """

    key: Key
    label: str
    total_bytes: int
    free_bytes: int
    gpu: Gpu | None = None

    @property
    def model_bytes(self) -> int:
        """What is left for a model once the process has its context, as ``torch.cuda.mem_get_info`` says."""
        context = process_term(self.gpu).bytes if isinstance(self.key, int) else 0
        return max(0, self.free_bytes - context)


@dataclass(frozen=True)
class DeviceSet:
    """GPUs in the order of torch's numbers, host and disk; nothing can be loaded onto ``imagined`` ones."""

    gpus: tuple[PlacementDevice, ...]
    host: PlacementDevice
    disk: PlacementDevice
    imagined: bool

    @property
    def all(self) -> tuple[PlacementDevice, ...]:
        return (*self.gpus, self.host, self.disk)

    @property
    def main(self) -> PlacementDevice:
        """Where offloaded layers run: the first GPU, or the host where there is none."""
        return self.gpus[0] if self.gpus else self.host

    def find(self, key: Key) -> PlacementDevice:
        """Return the device that a map calls ``key``; WorkshopError with the choices."""
        for device in self.all:
            if device.key == key:
                return device
        choices = ", ".join(repr(device.key) for device in self.all)
        raise WorkshopError(f"there is no device {key!r} here; the devices are {choices}.")

    @property
    def words(self) -> str:
        """What is free, as in ``4 × A40 with 44.4 GiB each, 64.0 GiB of host memory, 931.3 GiB of disk``."""
        alike = Counter((gpu.gpu.name if gpu.gpu else gpu.label, gpu.free_bytes) for gpu in self.gpus)
        parts = [
            f"{count} × {name} with {format_gib(free)} free" + (" each" if count > 1 else "")
            for (name, free), count in alike.items()
        ]
        beside = (f"{format_gib(device.free_bytes)} of {device.label}" for device in (self.host, self.disk))
        return ", ".join([*parts, *beside])

    def max_memory(self) -> dict[Key, int]:
        """Return Accelerate's ``max_memory`` in bytes: what a model may take of each GPU and of the host."""
        return {device.key: device.model_bytes for device in (*self.gpus, self.host)}

    def only(self, gpus: Sequence[PlacementDevice]) -> "DeviceSet":
        """Return the set with these GPUs alone, in the order of their numbers."""
        return replace(self, gpus=tuple(gpu for gpu in self.gpus if gpu in gpus))


def imagined_devices(text: str, *, host_gib: float = 64.0, disk_gb: float = 1000.0) -> DeviceSet:
    """Return the devices that a text such as ``4 x A40`` or ``1 x H100-80GB + 1 x A40`` names, all empty.

    ``none`` is a machine without GPUs. Raises WorkshopError for what cannot be read and for unknown types.
    """
    types: list[Gpu] = []
    parts = [] if text.strip().casefold() in {"none", "0"} else re.split(r"[+,]", text)
    for part in parts:
        found = PART.fullmatch(part.strip())
        if found is None:
            raise WorkshopError(f"{text!r} names no GPUs; {EXAMPLE}, or 'none'.")
        count = int(found[1] or 1)
        if not 1 <= count <= MOST_GPUS:
            raise WorkshopError(f"{count} GPUs in {text!r} are out of range; give 1 to {MOST_GPUS}.")
        types += [named_gpu(found[2], part)] * count
    if len(types) > MOST_GPUS:
        raise WorkshopError(f"{text!r} are {len(types)} GPUs; give at most {MOST_GPUS}.")
    for name, value, unit in (("host memory", host_gib, "GiB"), ("disk", disk_gb, "GB")):
        if not 0 <= value < float("inf"):
            raise WorkshopError(f"{name} cannot be {value} {unit}; give a number from 0 on.")
    gpus = tuple(
        PlacementDevice(number, f"GPU {number} ({gpu.name})", gpu.usable_bytes, gpu.usable_bytes, gpu)
        for number, gpu in enumerate(types)
    )
    host, disk = int(host_gib * GIB), int(disk_gb * GB)
    return DeviceSet(
        gpus,
        PlacementDevice(HOST, "host memory", host, host),
        PlacementDevice(DISK, "disk", disk, disk),
        True,
    )


def named_gpu(name: str, part: str) -> Gpu:
    """Return the GPU type called ``name``; WorkshopError, with the format where ``part`` tried to keep it."""
    try:
        return find_gpu(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…")
    except WorkshopError as error:
        if BETWEEN.search(part.strip()) is None:
            raise
        raise WorkshopError(f"{str(error).removesuffix('.')}; {EXAMPLE}.") from error


def devices_here(offload_folder: Path | None = None) -> DeviceSet:
    """Return this machine's devices, with what other programs hold of them taken off.

    GPUs are those that ``CUDA_VISIBLE_DEVICES`` leaves. Of the host counts what the job may still take, where
    a cgroup or Slurm limits it: Accelerate itself looks at the whole node. The disk is that of
    ``offload_folder``, by default the workshop's cache.
    """
    gpus = visible([gpu for gpu in find_machine().gpus if gpu.fault is None])
    placed = tuple(installed_device(number, gpu) for number, gpu in enumerate(gpus))
    reading = Host(environment=os.environ).read()
    if reading.data is None:
        raise WorkshopError(str(reading.error))
    host = reading.data
    free = host.machine_memory_total_bytes - host.machine_memory_used_bytes
    if host.memory_used_bytes is not None:
        free = min(free, host.memory_limit_bytes - host.memory_used_bytes)
    total = min(host.memory_limit_bytes, host.machine_memory_total_bytes)
    room = free_bytes(offload_folder or cache_folder())
    return DeviceSet(
        placed,
        PlacementDevice(HOST, "host memory", total, max(0, free)),
        PlacementDevice(DISK, "disk", room, room),
        imagined=False,
    )


def installed_device(number: int, gpu: InstalledGpu) -> PlacementDevice:
    """Return a GPU of this machine; WorkshopError where its driver does not report the memory."""
    if gpu.memory_total_bytes is None:
        raise WorkshopError(f"GPU {gpu.index} ({gpu.name}) does not report its memory; leave it out.")
    known = catalogue_entry(gpu)
    total = known.usable_bytes if known else gpu.memory_total_bytes
    used = gpu.memory_used_bytes or 0
    free = max(0, min(total, gpu.memory_total_bytes - used))
    name = known.name if known else gpu.name
    held = f", {format_gib(used)} in use" if used > total // 50 else ""
    return PlacementDevice(number, f"GPU {number} ({name}{held})", total, free, known)
