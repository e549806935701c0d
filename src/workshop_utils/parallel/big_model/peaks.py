"""The memory that each device of a device map needs: its weights, and what the map does not count.

Weights are those of the map. KV cache and activations are the memory engine's, for the layers that a GPU
runs: those that lie on the host or the disk run on the first GPU and have their cache there.
"""

from dataclasses import dataclass, replace

from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.memory.phases import replica_estimates
from workshop_utils.memory.sharding import shards_of, whole_model, without_copied_head
from workshop_utils.memory.term import Term
from workshop_utils.memory.workload import NEW_TOKENS, Workload
from workshop_utils.models.architecture import Architecture
from workshop_utils.parallel.big_model.devices import HOST, DeviceSet, Key, PlacementDevice
from workshop_utils.parallel.big_model.placement import Placement

MAP_SOURCE = "the device map: parameters of its modules, a tied one once"
MOVED_SOURCE = (
    "AlignDevicesHook of accelerate 1.15 (hooks.py): one module's weights at a time, while it is at work"
)


@dataclass(frozen=True)
class DevicePeak:
    """What one device needs. ``estimate`` has a GPU's terms, None for the host and the disk.

    ``peak_bytes``: the tensors at the fullest moment; ``process_bytes``: with the allocator's reserve and the
    CUDA context, as the driver shows it. On host and disk both are what lies there.
    """

    device: PlacementDevice
    estimate: GpuEstimate | None
    peak_bytes: int
    process_bytes: int

    @property
    def fits(self) -> bool:
        """Whether a new process on this device ends its run."""
        if self.estimate is None:
            return self.peak_bytes <= self.device.free_bytes
        return self.estimate.fits(self.device.free_bytes)


def workload_of(
    tokens: int, batch: int = 1, dtype: str = "bfloat16", *, new_tokens: int | None = None, stages: int = 1
) -> Workload:
    """Return plain ``generate()`` of ``batch`` sequences of ``tokens`` tokens, prompt and answer together."""
    new = min(NEW_TOKENS, tokens) if new_tokens is None else new_tokens
    return Workload(
        tokens, batch, dtype, dtype, "accelerate", "sdpa", pipeline_parallel=stages, new_tokens=new,
        cache="dynamic",
    )  # fmt: skip


def device_peaks(  # noqa: PLR0913 - one keyword for each thing that a reader can choose
    architecture: Architecture,
    placement: Placement,
    devices: DeviceSet,
    *,
    tokens: int,
    batch: int = 1,
    dtype: str = "bfloat16",
    new_tokens: int | None = None,
) -> tuple[DevicePeak, ...]:
    """Return the predicted peak of every device, in the order of ``devices.all``.

    Without a GPU the host computes, and only its weights and cache are counted, not its activations.
    """
    running = [key for key in (gpu.key for gpu in devices.gpus) if runs_anything(placement, key)]
    counts = tuple(sum(placement.runs_on(home) == key for home in placement.layers) for key in running)
    workload = workload_of(tokens, batch, dtype, new_tokens=new_tokens, stages=max(1, len(running)))
    found: dict[Key, GpuEstimate] = {}
    if running:
        shards = [without_copied_head(shard) for shard in shards_of(architecture, 1, counts)]
        for number, key in enumerate(running):
            estimate = replica_estimates(shards, workload, devices.find(key).gpu)[number]
            found[key] = with_weights_of(estimate, placement, key)
    # Without a GPU the host computes, and has the cache.
    cache = kv_cache_bytes(whole_model(architecture), tokens, batch, dtype) if placement.main == HOST else 0
    return tuple(
        peak_of(device, found.get(device.key), placement, cache if device.key == HOST else 0)
        for device in devices.all
    )


def runs_anything(placement: Placement, key: Key) -> bool:
    """Return whether a device holds or computes a part of the model."""
    return bool(placement.bytes_by_device[key]) or (key == placement.main and bool(placement.offloaded_bytes))


def with_weights_of(estimate: GpuEstimate, placement: Placement, key: Key) -> GpuEstimate:
    """Return the estimate with the weights that the map puts there in place of an even split's."""
    rows = [Term("weights of the map", "weights", placement.bytes_by_device[key], "", MAP_SOURCE, "exact")]
    if key == placement.main and placement.largest_moved_bytes:
        words = "the largest offloaded module, copied here for its turn"
        moved = placement.largest_moved_bytes
        rows.append(Term("one offloaded module", "weights", moved, words, MOVED_SOURCE, "assumed"))
    others = tuple(term for term in estimate.needed if term.kind != "weights")
    shift = sum(term.bytes for term in rows) - sum(t.bytes for t in estimate.needed if t.kind == "weights")
    return replace(
        estimate,
        needed=(*rows, *others),
        prefill_peak_bytes=(estimate.prefill_peak_bytes or 0) + shift,
        decode_peak_bytes=(estimate.decode_peak_bytes or 0) + shift,
        # Simulated for an even split's weights; of a whole model's parts the reserve differs by little.
        reserve=None if placement.offloaded_bytes else estimate.reserve,
    )


def peak_of(
    device: PlacementDevice, estimate: GpuEstimate | None, placement: Placement, cache_bytes: int
) -> DevicePeak:
    """Return one device's figures; ``cache_bytes`` are those of a host that computes."""
    if estimate is None:
        held = placement.bytes_by_device[device.key] + cache_bytes
        return DevicePeak(device, None, held, held)
    return DevicePeak(device, estimate, estimate.peak_bytes, estimate.process_bytes)
