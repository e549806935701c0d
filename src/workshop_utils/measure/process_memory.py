"""The memory of this process, as the system that hands it out counts it.

On a CPU: resident memory from the kernel, and its high-water mark. On a GPU: what torch's allocator hands out
and reserves, and what the driver shows. Both answer the same ``MemoryReading``.
"""

import ctypes
import gc
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from workshop_utils.hardware.nvml import Nvml

KIB = 1024
# Writing 5 resets the peak resident set size to the current one (man 5 proc, /proc/pid/clear_refs).
RESET_PEAK = "5"


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Bytes at one moment. None: this machine does not report it.

    ``held_bytes``: resident memory (CPU) or ``torch.cuda.memory_allocated`` (GPU). ``peak_bytes``: the
    highest of it since the last reset. ``reserved_bytes``: what torch's allocator took from the driver.
    ``driver_bytes``: what NVML shows as used on this GPU, by every process.
    """

    held_bytes: int
    peak_bytes: int | None = None
    reserved_bytes: int | None = None
    driver_bytes: int | None = None


class MemoryMeter(Protocol):
    """Reads one kind of memory of this process. ``kind`` names it for a reader."""

    kind: str

    def read(self) -> MemoryReading:
        """Read all figures now."""

    def settle(self) -> None:
        """Give back what is free, so that a reading counts what is held."""

    def reset_peak(self) -> bool:
        """Start a new peak; False where the system does not allow it."""


class CpuMemory:
    """Resident memory of this process. ``proc`` is the process's folder, another one in tests."""

    kind = "resident memory (RSS)"

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._proc = proc

    def read(self) -> MemoryReading:
        """Read Rss from smaps_rollup, because VmRSS is inaccurate (docs.kernel.org/filesystems/proc.html)."""
        held = self._field("smaps_rollup", "Rss")
        held_bytes = psutil.Process().memory_info().rss if held is None else held
        peak = self._field("status", "VmHWM")
        # A lagging high-water mark may stand a little below the exact reading.
        return MemoryReading(held_bytes, None if peak is None else max(peak, held_bytes))

    def settle(self) -> None:
        gc.collect()
        # glibc keeps freed memory for later; only Linux with glibc has malloc_trim.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if self._proc.exists() else None
        if trim is not None:
            trim(0)

    def reset_peak(self) -> bool:
        try:
            (self._proc / "clear_refs").write_text(RESET_PEAK, encoding="ascii")
        except OSError:  # some containers refuse it, other systems have no such file
            return False
        return True

    def _field(self, file: str, name: str) -> int | None:
        try:
            text = (self._proc / file).read_text(encoding="utf-8")
        except OSError:
            return None
        found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
        return int(found[1]) * KIB if found else None


class GpuMemory:
    """Memory of one GPU: torch's allocator and the driver. Needs a torch that can use a GPU."""

    kind = "GPU memory"

    def __init__(self, index: int = 0, nvml: Nvml | None = None) -> None:
        self._index = index
        self._nvml = nvml or Nvml(rates=False)

    def read(self) -> MemoryReading:
        import torch

        torch.cuda.synchronize(self._index)
        return MemoryReading(
            held_bytes=torch.cuda.memory_allocated(self._index),
            peak_bytes=torch.cuda.max_memory_allocated(self._index),
            reserved_bytes=torch.cuda.memory_reserved(self._index),
            driver_bytes=self._driver_bytes(str(torch.cuda.get_device_properties(self._index).uuid)),
        )

    def settle(self) -> None:
        gc.collect()

    def reset_peak(self) -> bool:
        """Start a new peak, from an allocator that keeps nothing of an earlier run."""
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._index)
        return True

    def _driver_bytes(self, uuid: str) -> int | None:
        """Find this GPU by its uuid: the driver counts all GPUs, torch only those of CUDA_VISIBLE_DEVICES."""
        reading = self._nvml.read()
        for gpu in reading.data or ():
            if gpu.uuid and gpu.uuid.removeprefix("GPU-") == uuid.removeprefix("GPU-"):
                return gpu.memory_used_bytes
        return None


def meter_here() -> MemoryMeter:
    """Return the meter of the first GPU that torch can use, else that of this process on the CPU."""
    import torch

    return GpuMemory() if torch.cuda.is_available() else CpuMemory()
