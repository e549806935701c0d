"""MIG: the instances that one GPU is divided into, each with its own memory and share of the multiprocessors.

The whole GPU then reports no utilisation. Functions:
https://docs.nvidia.com/deploy/nvml-api/group__nvmlMultiInstanceGPU.html
"""

from types import ModuleType
from typing import Any

from workshop_utils.hardware.nvml_activity import Activity
from workshop_utils.hardware.nvml_figures import processes
from workshop_utils.hardware.reading import MigReading


class MigInstances:
    """The instances of one GPU, looked for anew at each reading: they come and go without a reset."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        # Switching MIG on or off resets the GPU, whose handle is then another one.
        self.on = self._asked(lambda: nvml.nvmlDeviceGetMigMode(handle)[0]) == 1
        self._activities: dict[int, Activity] = {}

    def read(self) -> list[MigReading] | None:
        """Return all instances, in the driver's order; None where the GPU is not divided."""
        if not self.on:
            return None
        most = self._asked(lambda: self._nvml.nvmlDeviceGetMaxMigDeviceCount(self._handle)) or 0
        found = []
        for index in range(most):
            handle = self._asked(
                lambda index=index: self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, index)
            )
            if handle is not None:  # numbers without an instance are NotFound
                found.append(self._reading(handle))
        return found

    def close(self) -> None:
        """Give back what was allocated in the driver."""
        for activity in self._activities.values():
            self._asked(activity.close)

    def _reading(self, handle: Any) -> MigReading:
        nvml = self._nvml
        memory = self._asked(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        programs = self._asked(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return MigReading(
            uuid=self._text(lambda: nvml.nvmlDeviceGetUUID(handle)),
            # "NVIDIA H200 MIG 1g.18gb": what stands before is the GPU's name.
            name=(self._text(lambda: nvml.nvmlDeviceGetName(handle)) or "").rpartition("MIG ")[2] or None,
            memory_used_bytes=None if memory is None else memory.used,
            memory_total_bytes=None if memory is None else memory.total,
            sm_percent=self._sm_percent(handle),
            processes=None if programs is None else processes(programs),
        )

    def _sm_percent(self, handle: Any) -> float | None:
        instance = self._asked(lambda: self._nvml.nvmlDeviceGetGpuInstanceId(handle))
        if instance is None:
            return None
        if instance not in self._activities:
            activity = self._asked(lambda: Activity(self._nvml, self._handle, instance))
            if activity is None:
                return None
            self._activities[instance] = activity
        activity = self._activities[instance]
        read = self._asked(activity.read) if activity.supported else None
        return read[0].get("sm_percent") if read else None

    def _asked(self, call: Any) -> Any:
        """Return what a call answers, None where the driver refuses it or the binding is too old for it."""
        try:
            return call()
        except (self._nvml.NVMLError, AttributeError):
            return None

    def _text(self, call: Any) -> str | None:
        answer = self._asked(call)
        return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
