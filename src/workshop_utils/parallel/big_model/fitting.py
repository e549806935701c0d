"""A device map that holds at the promised context: ``max_memory`` with which Accelerate leaves enough room.

Accelerate counts weights alone, so that a map of its own may run out of memory at the first prompt, or spread
a model over GPUs that it does not need. Here the memory engine says how many layers a GPU holds *with* their
cache and activations; ``max_memory`` is chosen so that Accelerate's own map has just these.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.memory.phases import shared_estimate
from workshop_utils.memory.sharding import Shard, shards_of, without_copied_head
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.devices import HOST, DeviceSet, Key, PlacementDevice
from workshop_utils.parallel.big_model.maps import accelerate_map
from workshop_utils.parallel.big_model.module_sizes import module_sizes
from workshop_utils.parallel.big_model.peaks import DevicePeak, device_peaks, workload_of
from workshop_utils.parallel.big_model.placement import Placement
from workshop_utils.units import format_gib

# Steps in which the room is halved that the fullest GPU keeps: to a thousandth of its memory.
HALVINGS = 10


@dataclass(frozen=True)
class Fit:
    """A map and what makes Accelerate choose it; ``devices`` are those that it was given."""

    placement: Placement
    max_memory: dict[Key, int]
    devices: DeviceSet
    peaks: tuple[DevicePeak, ...]

    @property
    def gpus(self) -> int:
        return len(self.devices.gpus)

    @property
    def offloads(self) -> bool:
        return bool(self.placement.offloaded_bytes)

    @property
    def holds(self) -> bool:
        """Whether every device has what is predicted for it."""
        return all(peak.fits for peak in self.peaks)


def fitting_map(
    model: str, devices: DeviceSet, *, tokens: int, batch: int = 1, dtype: str = "bfloat16"
) -> Fit:
    """Return the map of the fewest GPUs that hold ``batch`` sequences of ``tokens`` tokens.

    One GPU where one is enough, the smallest such; of several, the roomiest. Layers go to the host and the
    disk only where all GPUs together are too small. Raises WorkshopError where nothing holds.
    """
    architecture = find_architecture(model)
    workload = workload_of(tokens, batch, dtype)
    for chosen in gpu_choices(devices):
        counts = roomiest_counts(architecture, workload, chosen.gpus)
        fit = fit_of(model, architecture, workload, chosen, counts) if counts else None
        if fit and fit.holds and not fit.offloads:
            return fit
    if devices.gpus:
        last = offloading_fit(model, architecture, workload, devices)
    else:
        last = fit_of(model, architecture, workload, devices, ())
    if last is None or not last.holds:
        raise WorkshopError(too_large(architecture, workload, devices))
    return last


def gpu_choices(devices: DeviceSet) -> Iterator[DeviceSet]:
    """Yield sets of GPUs to try: each alone, the smallest first, then the two roomiest, and so on."""
    by_room = sorted(devices.gpus, key=lambda gpu: (-gpu.free_bytes, gpu.key))
    for gpu in sorted(devices.gpus, key=lambda gpu: (gpu.free_bytes, gpu.key)):
        yield devices.only([gpu])
    for count in range(2, len(by_room) + 1):
        yield devices.only(by_room[:count])


def roomiest_counts(
    architecture: Architecture, workload: Workload, gpus: Sequence[PlacementDevice]
) -> tuple[int, ...]:
    """Return the layers of each GPU for which the fullest keeps most of its memory free; () if none fits."""
    best = packed(architecture, workload, gpus, 1.0)
    lowest, highest = 0.0, 1.0
    for _ in range(HALVINGS if best and len(gpus) > 1 else 0):
        middle = (lowest + highest) / 2
        found = packed(architecture, workload, gpus, middle)
        lowest, highest = (lowest, middle) if found else (middle, highest)
        best = found or best
    return best


def packed(
    architecture: Architecture, workload: Workload, gpus: Sequence[PlacementDevice], share: float
) -> tuple[int, ...]:
    """Fill each GPU in turn to ``share`` of what it has free; () where layers are left over.

    What stands in a fixed order is packed into the fewest parts by filling each as far as it goes.
    """
    depth, start, counts = len(architecture.layers), 0, []
    for gpu in gpus:
        count = most_layers(architecture, workload, gpu, start, share)
        if count is None:
            return ()
        counts.append(count)
        start += count
    return tuple(counts) if start == depth else ()


def most_layers(
    architecture: Architecture, workload: Workload, gpu: PlacementDevice, start: int, share: float
) -> int | None:
    """Return how many layers from ``start`` on a GPU holds; None where not one of them."""
    low, high = 0, len(architecture.layers) - start
    while low < high:
        middle = (low + high + 1) // 2
        if holds(stage_estimate(architecture, workload, gpu, start, middle), gpu, share):
            low = middle
        else:
            high = middle - 1
    return low or None


def holds(estimate: GpuEstimate, gpu: PlacementDevice, share: float) -> bool:
    """Return whether a GPU's share is enough; the allocator's reserve counts only where nothing is spared."""
    if share == 1.0:
        return estimate.fits(gpu.free_bytes)
    return estimate.needed_bytes <= share * gpu.free_bytes


def stage_estimate(
    architecture: Architecture, workload: Workload, gpu: PlacementDevice, start: int, count: int
) -> GpuEstimate:
    """Return what ``count`` layers from ``start`` on need, with embedding before and head behind them."""
    return shared_estimate(stage_shard(architecture, start, count), workload, gpu.gpu)


@lru_cache(maxsize=4096)
def stage_shard(architecture: Architecture, start: int, count: int) -> Shard:
    """Return ``count`` layers from ``start`` on as a pipeline stage would hold them."""
    rest = len(architecture.layers) - start - count
    counts = ((start,) if start else ()) + (count,) + ((rest,) if rest else ())
    return without_copied_head(shards_of(architecture, 1, counts)[1 if start else 0])


def offloading_fit(
    model: str, architecture: Architecture, workload: Workload, devices: DeviceSet
) -> Fit | None:
    """Return the map that offloads the fewest layers; None where not one of them stands on the first GPU.

    Offloaded layers have their cache on the first GPU, so that it is emptied before the others.
    """
    best, low, high = None, 0, len(architecture.layers) - 1
    while low < high:
        first = (low + high + 1) // 2
        counts = [first]
        for gpu in devices.gpus[1:]:
            counts.append(most_layers(architecture, workload, gpu, sum(counts), 1.0) or 0)
        fit = fit_of(model, architecture, workload, devices, counts)
        if fit.holds and fit.placement.bytes_by_device[devices.main.key]:
            best, low = fit, first
        else:
            high = first - 1
    return best


def fit_of(
    model: str, architecture: Architecture, workload: Workload, devices: DeviceSet, counts: Sequence[int]
) -> Fit:
    """Return Accelerate's own map for limits that leave it these layers on each GPU."""
    limits = limits_for(model, workload.dtype, devices, counts)
    placement = accelerate_map(model, devices, kind="sequential", max_memory=limits, dtype=workload.dtype)
    peaks = device_peaks(
        architecture, placement, devices, tokens=workload.tokens, batch=workload.batch, dtype=workload.dtype
    )
    return Fit(placement, limits, devices, peaks)


def limits_for(model: str, dtype: str, devices: DeviceSet, counts: Sequence[int]) -> dict[Key, int]:
    """Return ``max_memory`` in bytes with which Accelerate lays so many layers on each GPU.

    Half a layer is added, so that rounding decides nothing; and on the first GPU what Accelerate keeps free
    there in any case, for the largest module that could be offloaded.
    """
    sizes = module_sizes(model, dtype)
    limits: dict[Key, int] = {}
    start = 0
    for gpu, count in zip(devices.gpus, counts, strict=True):
        if not count:
            limits[gpu.key] = 0
            continue
        size = sum(sizes.layers[start : start + count]) + min(sizes.layers) // 2
        size += (sizes.before + sizes.largest_behind) if start == 0 and gpu.key == devices.main.key else 0
        start += count
        limits[gpu.key] = size + (sizes.after if start == len(sizes.layers) else 0)
    return limits | {HOST: devices.host.model_bytes}


def too_large(architecture: Architecture, workload: Workload, devices: DeviceSet) -> str:
    """Return why nothing holds, and what would."""
    whole = stage_shard(architecture, 0, len(architecture.layers))
    need = shared_estimate(whole, workload, devices.main.gpu).needed_bytes
    return (
        f"{architecture.name} in {workload.dtype} with {workload.tokens:,} tokens × {workload.batch} needs "
        f"about {format_gib(need)} on one GPU, and no map of Accelerate holds it on {devices.words}: what a "
        "GPU cannot spare is the cache and the activations of its layers. Take a shorter text, a smaller "
        f"batch, a smaller precision or {'more GPUs' if devices.gpus else 'a GPU'}."
    )
