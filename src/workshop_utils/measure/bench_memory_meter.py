"""The memory of one run at its stages, on every device: torch's allocator and NVML, or resident memory."""

import gc
from typing import Protocol

from workshop_utils.hardware.nvml import Nvml
from workshop_utils.measure.process_memory import CpuMemory

Values = dict[str, int]
PEAK = "peak_allocated"


class StageMeter(Protocol):
    """Reads bytes by name, one dictionary a device; what the machine does not report is left out."""

    devices: tuple[str, ...]

    def loaded(self) -> list[Values]:
        """Read what the weights take; starts the peak of the prefill."""

    def prefilled(self) -> list[Values]:
        """Read the peak up to the first token; starts the peak of the decoding."""

    def ended(self) -> list[Values]:
        """Read the peak since, and the process, while model and cache are still there."""

    def stopped(self) -> list[Values]:
        """Read what was there when memory ran out: lower bounds, of no stage."""


class CudaMeter:
    """Counters of the GPUs 0 to ``count`` - 1 of torch. Make it before anything touches a GPU.

    ``process``: NVML's used bytes at the peak, less what was used before this process came. The allocator
    keeps what it has reserved unless memory runs out, so what it gave back by the end is added again.
    """

    def __init__(self, count: int, nvml: Nvml | None = None) -> None:
        self.devices = tuple(f"cuda:{index}" for index in range(count))
        self._indices = range(count)
        self._nvml = nvml or Nvml(rates=False)
        self._idle = self._used_by_uuid()
        self._reserved = [0] * count

    def loaded(self) -> list[Values]:
        import torch

        gc.collect()
        for index in self._indices:
            torch.cuda.synchronize(index)
            with torch.cuda.device(index):
                torch.cuda.empty_cache()
        readings = [{"loaded": torch.cuda.memory_allocated(index)} for index in self._indices]
        self._restart()
        return readings

    def prefilled(self) -> list[Values]:
        import torch

        readings = [{"prefill_peak": torch.cuda.max_memory_allocated(index)} for index in self._indices]
        self._restart()
        return readings

    def ended(self) -> list[Values]:
        import torch

        used, readings = self._used_by_uuid(), []
        for index in self._indices:
            torch.cuda.synchronize(index)
            reserved = max(self._reserved[index], torch.cuda.max_memory_reserved(index))
            reading = {"decode_peak": torch.cuda.max_memory_allocated(index), "peak_reserved": reserved}
            uuid = str(torch.cuda.get_device_properties(index).uuid).removeprefix("GPU-")
            if uuid in used and uuid in self._idle:
                given_back = reserved - torch.cuda.memory_reserved(index)
                reading["process"] = used[uuid] - self._idle[uuid] + given_back
                reading["context"] = reading["process"] - reserved
            readings.append(reading)
        return readings

    def stopped(self) -> list[Values]:
        return [
            {PEAK if name == "decode_peak" else name: value for name, value in one.items()}
            for one in self.ended()
        ]

    def _restart(self) -> None:
        import torch

        for index in self._indices:
            self._reserved[index] = max(self._reserved[index], torch.cuda.max_memory_reserved(index))
            torch.cuda.reset_peak_memory_stats(index)

    def _used_by_uuid(self) -> Values:
        return {
            gpu.uuid.removeprefix("GPU-"): gpu.memory_used_bytes
            for gpu in self._nvml.read().data or ()
            if gpu.uuid is not None and gpu.memory_used_bytes is not None
        }


class ResidentMeter:
    """Resident memory of this process beyond what it had before the model: the CPU's stand-in for both."""

    devices: tuple[str, ...] = ("cpu",)

    def __init__(self, memory: CpuMemory | None = None) -> None:
        self._memory = memory or CpuMemory()
        self._memory.settle()
        self._before = self._memory.read().held_bytes
        self._highest = self._before

    def loaded(self) -> list[Values]:
        self._memory.settle()
        held = self._memory.read().held_bytes - self._before
        self._memory.reset_peak()
        return [{"loaded": held}]

    def prefilled(self) -> list[Values]:
        peak = self._peak("prefill_peak")
        self._memory.reset_peak()
        return [peak]

    def ended(self) -> list[Values]:
        peak = self._peak("decode_peak")
        return [{**peak, "process": self._highest} if peak else {}]

    def stopped(self) -> list[Values]:
        return [self._peak(PEAK)]

    def _peak(self, name: str) -> Values:
        peak = self._memory.read().peak_bytes
        self._highest = max(self._highest, peak or 0)
        return {} if peak is None else {name: peak - self._before}


def meter_of(device: str, count: int) -> StageMeter:
    """Return the meter of ``count`` GPUs, or of the CPU."""
    return CudaMeter(count) if device == "cuda" else ResidentMeter()


def whole_peak(values: Values) -> Values:
    """Return the readings of one device with ``peak_allocated``, the highest of all stages."""
    peaks = [values[name] for name in ("prefill_peak", "decode_peak", PEAK) if name in values]
    return {**values, PEAK: max(peaks)} if peaks else values
