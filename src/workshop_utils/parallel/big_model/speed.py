"""How long a token takes on a device map: what is launched, read, copied and handed on, one after the other.

A device map has one device at work at a time, so that times add up. The constants are in ``speeds.json``,
each with its source and the GPU type beside which it was measured; other GPUs and hosts differ.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.memory.sharding import whole_model
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.devices import DISK, HOST, DeviceSet
from workshop_utils.parallel.big_model.module_sizes import module_sizes
from workshop_utils.parallel.big_model.placement import Placement
from workshop_utils.units import GB

SIXTEEN_BITS = ("bfloat16", "float16")


@dataclass(frozen=True)
class TimePart:
    """One part of a token's time, in ms."""

    name: str
    ms: float
    source: str
    certainty: str


@dataclass(frozen=True)
class ExpectedTpot:
    """What a token is expected to take; ``ms`` is the sum of the parts."""

    parts: tuple[TimePart, ...]

    @property
    def ms(self) -> float:
        return sum(part.ms for part in self.parts)

    @property
    def certainty(self) -> str:
        """That of the least certain part that is a tenth of the whole or more."""
        counted = [part.certainty for part in self.parts if part.ms >= 0.1 * self.ms]
        return "assumed" if "assumed" in counted else "measured"

    @property
    def words(self) -> str:
        """How sure it is, for a reader: parts were measured, the sum was not."""
        return "from measured parts" if self.certainty == "measured" else self.certainty


@functools.cache
def speeds() -> dict[str, Any]:
    """Return ``speeds.json``."""
    return dict(json.loads(Path(__file__).with_name("speeds.json").read_text(encoding="utf-8")))


def constant(name: str, devices: DeviceSet) -> dict[str, Any]:
    """Return a constant as measured beside this type of GPU; elsewhere the first one, which is assumed."""
    found = speeds()[name]
    types = {gpu.gpu.name if gpu.gpu else None for gpu in devices.gpus}
    measured = (row for row in (found, *found.get("others", ())) if types == {row.get("gpu")})
    return dict(next(measured, found | {"certainty": "assumed"}))


def expected_tpot(  # noqa: PLR0913 - one keyword for each thing that a reader can choose
    model: str,
    placement: Placement,
    devices: DeviceSet,
    *,
    tokens: int,
    batch: int = 1,
    dtype: str = "bfloat16",
) -> ExpectedTpot:
    """Return the expected time of a decode step of ``batch`` sequences at ``tokens`` tokens of context.

    On GPUs the layers take the longer of launching their kernels and reading their bytes. Offloaded
    weights are copied for every step; those of the disk come from spare host memory where they fit into it.
    Batch changes only the bytes of the cache: right while reading, not computing, takes the time. It is the
    time at a length that the process has met before: add ``new_lengths`` for a first answer.
    """
    architecture = find_architecture(model)
    cache = kv_cache_bytes(whole_model(architecture), tokens, batch, dtype)
    parts = []
    if placement.main == HOST:
        size = placement.bytes_by_device[HOST] + cache
        parts.append(timed("reading weights and cache on the CPU", size, speeds()["cpu_gb_per_s"]))
    else:
        parts.append(on_gpus(model, placement, devices, cache, dtype))
        if len(placement.used) > 1:
            hook = constant("hook_ms", devices)
            parts.append(part("Accelerate's hooks", hook["value"] * len(placement.layers), hook))
        copies = constant("host_gb_per_s", devices)
        parts.append(timed("copies from host memory", placement.moved_by_device[HOST], copies))
    spare = devices.host.free_bytes - placement.bytes_by_device[HOST]
    moved = placement.moved_by_device[DISK]
    if placement.bytes_by_device[DISK] <= spare:
        cached = constant("cached_disk_gb_per_s", devices)
        parts.append(timed("reading files that spare host memory keeps", moved, cached))
    else:
        parts.append(timed("reading from the disk", moved, speeds()["disk_gb_per_s"]))
    return ExpectedTpot(tuple(each for each in parts if each.ms > 0))


def new_lengths(placement: Placement, devices: DeviceSet, dtype: str) -> TimePart:
    """Return what a step takes longer at a context length that the process meets for the first time.

    Each GPU that runs layers pays, in 16 bits. Measured on H200 alone; ``speeds.json`` says what the reason
    may be, by which other generations than Hopper would not pay.
    """
    found = constant("new_length_ms", devices)
    paying = {placement.runs_on(home) for home in placement.layers} - {HOST} if dtype in SIXTEEN_BITS else ()
    return part("context lengths met for the first time", found["value"] * len(paying), found)


def on_gpus(model: str, placement: Placement, devices: DeviceSet, cache_bytes: int, dtype: str) -> TimePart:
    """Return the time of all layers on their GPUs; one of unknown bandwidth reads like the slowest."""
    launch, share = constant("layer_ms", devices), constant("gpu_read_share", devices)
    known = [gpu.gpu.bandwidth_gb_per_s for gpu in devices.gpus if gpu.gpu]
    sizes, count = module_sizes(model, dtype), len(placement.layers)
    reading = 0.0
    for gpu in devices.gpus:
        layers = [n for n, home in enumerate(placement.layers) if placement.runs_on(home) == gpu.key]
        size = sum(sizes.layers[n] for n in layers) + cache_bytes * len(layers) / count
        size += sizes.head if placement.runs_on(placement.head) == gpu.key else 0
        bandwidth = gpu.gpu.bandwidth_gb_per_s if gpu.gpu else min(known, default=0)
        reading += 1000 * size / (bandwidth * GB * share["value"]) if bandwidth else 0.0
    launching = launch["value"] * count
    if launching >= reading:
        return part("launching the layers' kernels", launching, launch)
    return part("reading weights and cache on the GPUs", reading, share)


def timed(name: str, size: float, speed: dict[str, Any]) -> TimePart:
    """Return the time in which so many bytes pass at one of the speeds."""
    return part(name, 1000 * size / (speed["value"] * GB), speed)


def part(name: str, milliseconds: float, found: dict[str, Any]) -> TimePart:
    return TimePart(name, milliseconds, found["source"], found["certainty"])
