"""GPUs through NVML for a small price: use, memory and power alone, for who looks every second."""

import time
from collections.abc import Callable
from typing import Any

from workshop_utils.hardware.nvml import Nvml
from workshop_utils.hardware.nvml_device import NvmlDevice
from workshop_utils.hardware.reading import GpuReading


class BriefNvml(Nvml):
    """Reads three figures a GPU; its first reading is whole, and ``Nvml`` judges what is wrong.

    Where a call fails that once worked, ``Nvml`` reads that GPU. What a GPU did not report at first is not
    asked again. A reading has no other figures than these, and the limits that the first one found.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(now, rates=False)
        # By index: the device as it was opened, and its whole reading.
        self._known: dict[int, tuple[NvmlDevice, GpuReading]] = {}

    def _read_device(self, device: NvmlDevice) -> GpuReading:
        opened, whole = self._known.get(device.index, (None, None))
        if opened is device and whole is not None and whole.status == "ok":
            try:
                return self._brief(device.nvml, device.handle, whole)
            except device.nvml.NVMLError:
                pass  # asked again below, by who knows what it means
        whole = super()._read_device(device)
        self._known[device.index] = (device, whole)
        return whole

    def _brief(self, nvml: Any, handle: Any, whole: GpuReading) -> GpuReading:
        """Ask for what is reported. Plain calls: a tool around each would cost as much as the call."""
        missing = whole.not_reported
        return GpuReading(
            whole.index,
            whole.uuid,
            whole.name,
            utilization_percent=(
                None if "utilization_percent" in missing else nvml.nvmlDeviceGetUtilizationRates(handle).gpu
            ),
            # The second form, as everywhere here: its ``used`` leaves out what the driver reserves.
            memory_used_bytes=(
                None
                if "memory_used_bytes" in missing
                else nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2).used
            ),
            memory_total_bytes=whole.memory_total_bytes,
            power_watts=None if "power_watts" in missing else nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            power_limit_watts=whole.power_limit_watts,
            not_reported=missing,
        )
