"""GPUs through NVML (``nvidia-ml-py``): a fault is a value with a reason, never an exception.

The only file that imports ``pynvml``, and only when something is read. What it has to know about the
binding: its state is global to the process and counts initialisations, so others (jupyterlab-nvdashboard)
may share it; a library that failed to initialise stays loaded and may be initialised again; names are bytes
in old releases; ``NVMLError`` defines ``__eq__`` without ``__hash__``, so only its ``value`` is compared.
Function and error names: https://docs.nvidia.com/deploy/nvml-api/
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from workshop_utils.hardware import nvml_reasons
from workshop_utils.hardware.reading import GpuReading, Reading

LOG = logging.getLogger(__name__)
# A library does not appear while a server runs, except when someone installs it; a driver may be reloaded
# and a GPU reset, and a reader waits for that.
RETRY_MISSING_SECONDS = 60.0
RETRY_FAULT_SECONDS = 5.0
# GPUs come and go without a fault when an administrator resets or hides one; counting takes microseconds.
RECOUNT_SECONDS = 30.0


@dataclass
class _Device:
    """A handle of the driver (None once it stopped being valid) and who it was."""

    index: int
    handle: Any = None
    uuid: str | None = None
    name: str | None = None
    fault: int | None = None


class Nvml:
    """Reads all GPUs. Initialises on the first ``read``; ``close`` lets the driver go. Thread-safe."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._nvml: ModuleType | None = None
        self._devices: list[_Device] = []
        self._reason: str | None = None
        self._retry_at = 0.0
        self._recount_at = 0.0
        self._logged: set[str] = set()

    def read(self) -> Reading[tuple[GpuReading, ...]]:
        """Read every GPU that the driver shows to this process; about 10 microseconds a healthy GPU."""
        with self._lock:
            if self._retry_at <= self._now() or self._count_changed():
                self._refresh()
            if self._nvml is None:
                return Reading.missing(self._reason or nvml_reasons.NO_GPU)
            gpus = tuple(self._read_device(self._nvml, device) for device in self._devices)
            if self._retry_at == 0.0:
                return Reading.missing(nvml_reasons.RESTARTING)
            gone = next((gpu.fault for gpu in self._devices if gpu.fault in nvml_reasons.DRIVER_GONE), None)
            if gone is not None:
                reason = nvml_reasons.of_initialisation(gone, "")
                self._shut_down()
                self._give_up(reason, RETRY_FAULT_SECONDS)
                return Reading.missing(reason)
            return Reading.of(gpus)

    def driver_version(self) -> str | None:
        """Return the driver's version, for example ``580.95.05``; None before ``read`` found a driver."""
        with self._lock:
            return _text(self._ask(self._nvml, "nvmlSystemGetDriverVersion")[0]) if self._nvml else None

    def cuda_version(self) -> tuple[int, int] | None:
        """Return the newest CUDA version that the driver runs, as (13, 0)."""
        with self._lock:
            version = self._nvml and self._ask(self._nvml, "nvmlSystemGetCudaDriverVersion_v2")[0]
            return (version // 1000, version % 1000 // 10) if version else None

    def compute_capability(self, index: int) -> tuple[int, int] | None:
        """Return a GPU's CUDA compute capability, as (9, 0); None if it does not say."""
        with self._lock:
            handle = next((device.handle for device in self._devices if device.index == index), None)
            if self._nvml is None or handle is None:
                return None
            capability: tuple[int, int] | None
            capability = self._ask(self._nvml, "nvmlDeviceGetCudaComputeCapability", handle)[0]
            return capability

    def energy_joules(self, uuid: str) -> float | None:
        """Return what a GPU has used since its driver was loaded; None if it does not say (before Volta)."""
        with self._lock:
            handle = next((gpu.handle for gpu in self._devices if _same(gpu.uuid, uuid)), None)
            if self._nvml is None or handle is None:
                return None
            energy = self._ask(self._nvml, "nvmlDeviceGetTotalEnergyConsumption", handle)[0]
            return None if energy is None else energy / 1000

    def close(self) -> None:
        """Shut NVML down (for this reader only; others in the process keep theirs)."""
        with self._lock:
            self._shut_down()
            self._retry_at = 0.0

    def _count_changed(self) -> bool:
        if self._nvml is None or self._now() < self._recount_at:
            return False
        self._recount_at = self._now() + RECOUNT_SECONDS
        return bool(self._ask(self._nvml, "nvmlDeviceGetCount")[0] != len(self._devices))

    def _refresh(self) -> None:
        """Initialise, or start anew after a fault; decides when to look again."""
        known = {device.index: device for device in self._devices}
        self._shut_down()
        try:
            import pynvml
        except ImportError:
            self._give_up(nvml_reasons.NO_BINDING, RETRY_MISSING_SECONDS)
            return
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            missing = error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
            reason = nvml_reasons.of_initialisation(error.value, str(error))
            self._give_up(reason, RETRY_MISSING_SECONDS if missing else RETRY_FAULT_SECONDS)
            return
        self._nvml = pynvml
        count, fault, words = self._ask(pynvml, "nvmlDeviceGetCount")
        if not count:
            self._shut_down()
            reason = nvml_reasons.NO_GPU if fault is None else nvml_reasons.of_initialisation(fault, words)
            self._give_up(reason, RETRY_FAULT_SECONDS)
            return
        self._devices = [self._open_device(pynvml, index, known.get(index)) for index in range(count)]
        self._reason = None
        sick = any(device.fault not in (None, nvml_reasons.NO_PERMISSION) for device in self._devices)
        self._retry_at = self._now() + RETRY_FAULT_SECONDS if sick else float("inf")
        self._recount_at = self._now() + RECOUNT_SECONDS

    def _open_device(self, nvml: ModuleType, index: int, known: _Device | None) -> _Device:
        device = _Device(index)
        device.handle, device.fault, _ = self._ask(nvml, "nvmlDeviceGetHandleByIndex", index)
        if device.fault is None:
            device.uuid = _text(self._ask(nvml, "nvmlDeviceGetUUID", device.handle)[0])
            device.name = _text(self._ask(nvml, "nvmlDeviceGetName", device.handle)[0])
        if known is not None:  # a lost GPU no longer says who it is
            device.uuid, device.name = device.uuid or known.uuid, device.name or known.name
        return device

    def _read_device(self, nvml: ModuleType, device: _Device) -> GpuReading:
        utilization = memory = None
        not_reported: dict[str, str] = {}
        if device.fault is None:
            utilization, words = self._figure(nvml, device, "nvmlDeviceGetUtilizationRates")
            if words:
                not_reported["utilization_percent"] = words
        if device.fault is None:
            memory, words = self._memory(nvml, device)
            if words:
                not_reported["memory_used_bytes"] = not_reported["memory_total_bytes"] = words
        if device.fault is not None:
            status, error = nvml_reasons.of_device(device.fault, device.index, device.name)
            self._log_once(error)
            return GpuReading(device.index, device.uuid, device.name, status, error)
        for figure, words in not_reported.items():
            self._log_once(f"GPU {device.index} does not report {figure}: {words}")
        return GpuReading(
            index=device.index,
            uuid=device.uuid,
            name=device.name,
            utilization_percent=None if utilization is None else utilization.gpu,
            memory_used_bytes=None if memory is None else memory.used,
            memory_total_bytes=None if memory is None else memory.total,
            not_reported=not_reported,
        )

    def _memory(self, nvml: ModuleType, device: _Device) -> tuple[Any, str]:
        """Ask the second form first: like nvidia-smi, its ``used`` leaves out what the driver reserves."""
        memory, words = self._figure(nvml, device, "nvmlDeviceGetMemoryInfo", nvml.nvmlMemory_v2)
        if memory is None and device.fault is None:
            return self._figure(nvml, device, "nvmlDeviceGetMemoryInfo")
        return memory, words

    def _figure(self, nvml: ModuleType, device: _Device, function: str, *rest: object) -> tuple[Any, str]:
        """Read one figure; the words say why it is missing. Notes on the device a fault that ends it."""
        value, fault, words = self._ask(nvml, function, device.handle, *rest)
        if fault in nvml_reasons.ENDING:
            device.fault = fault
            self._retry_at = self._now() + RETRY_FAULT_SECONDS
        if fault == nvml_reasons.UNINITIALIZED:
            self._retry_at = 0.0  # somebody shut NVML down under us: the next read initialises again
        return value, words

    @staticmethod
    def _ask(nvml: ModuleType, function: str, *arguments: object) -> tuple[Any, int | None, str]:
        """Return value, error code and the driver's words; the code is None when all went well."""
        try:
            return getattr(nvml, function)(*arguments), None, ""
        except nvml.NVMLError as error:
            return None, error.value, str(error)
        except (AttributeError, UnicodeDecodeError) as error:  # an old binding; a name that is no text
            return None, nvml_reasons.FUNCTION_NOT_FOUND, str(error)

    def _shut_down(self) -> None:
        if self._nvml is not None:
            self._ask(self._nvml, "nvmlShutdown")
        self._nvml = None

    def _give_up(self, reason: str, retry_seconds: float) -> None:
        self._reason = reason
        self._retry_at = self._now() + retry_seconds
        self._log_once(reason)

    def _log_once(self, cause: str) -> None:
        if cause not in self._logged:
            self._logged.add(cause)
            LOG.info("%s", cause)


def _same(uuid: str | None, other: str) -> bool:
    """Compare two uuids: torch leaves the driver's prefix out."""
    return (uuid or "").removeprefix("GPU-") == other.removeprefix("GPU-")


def _text(name: str | bytes | None) -> str | None:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name
