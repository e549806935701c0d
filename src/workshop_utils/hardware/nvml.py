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
from types import ModuleType

from workshop_utils.hardware import nvml_reasons
from workshop_utils.hardware.nvml_device import NvmlDevice, ask, open_device, text
from workshop_utils.hardware.reading import GpuReading, Reading

LOG = logging.getLogger(__name__)
# A library does not appear while a server runs, except when someone installs it; a driver may be reloaded
# and a GPU reset, and a reader waits for that.
RETRY_MISSING_SECONDS = 60.0
RETRY_FAULT_SECONDS = 5.0
# One call at a time in the whole process, whoever reads: on a real driver (580), two readers of GPM at the
# same moment end the process with a segmentation fault (tests/gpu/recorded/nvml_threads_two_h200.json). Any
# other two kinds of calls may meet: who does not know this lock, as jupyterlab-nvdashboard, does no harm.
_DRIVER = threading.Lock()
# GPUs come and go without a fault when an administrator resets or hides one; counting takes microseconds.
RECOUNT_SECONDS = 30.0


class Nvml:
    """Reads all GPUs. Initialises on the first ``read``; ``close`` lets the driver go. Thread-safe.

    Without ``rates``, what is counted over time (activity, traffic, energy) is left out, for who looks once.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, rates: bool = True) -> None:
        self._now = now
        self._rates = rates
        self._nvml: ModuleType | None = None
        self._devices: list[NvmlDevice] = []
        self._reason: str | None = None
        self._retry_at = 0.0
        self._recount_at = 0.0
        self._logged: set[str] = set()

    def read(self) -> Reading[tuple[GpuReading, ...]]:
        """Read every GPU that the driver shows to this process; about 0.2 ms a healthy GPU."""
        with _DRIVER:
            if self._retry_at <= self._now() or self._count_changed():
                self._refresh()
            if self._nvml is None:
                return Reading.missing(self._reason or nvml_reasons.NO_GPU)
            gpus = tuple(self._read_device(device) for device in self._devices)
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
        with _DRIVER:
            return text(ask(self._nvml, "nvmlSystemGetDriverVersion")[0]) if self._nvml else None

    def cuda_version(self) -> tuple[int, int] | None:
        """Return the newest CUDA version that the driver runs, as (13, 0)."""
        with _DRIVER:
            version = self._nvml and ask(self._nvml, "nvmlSystemGetCudaDriverVersion_v2")[0]
            return (version // 1000, version % 1000 // 10) if version else None

    def compute_capability(self, index: int) -> tuple[int, int] | None:
        """Return a GPU's CUDA compute capability, as (9, 0); None if it does not say."""
        with _DRIVER:
            handle = next((device.handle for device in self._devices if device.index == index), None)
            if self._nvml is None or handle is None:
                return None
            capability: tuple[int, int] | None
            capability = ask(self._nvml, "nvmlDeviceGetCudaComputeCapability", handle)[0]
            return capability

    def energy_joules(self, uuid: str) -> float | None:
        """Return what a GPU has used since its driver was loaded; None if it does not say (before Volta)."""
        with _DRIVER:
            handle = next((gpu.handle for gpu in self._devices if _same(gpu.uuid, uuid)), None)
            if self._nvml is None or handle is None:
                return None
            energy = ask(self._nvml, "nvmlDeviceGetTotalEnergyConsumption", handle)[0]
            return None if energy is None else energy / 1000

    def close(self) -> None:
        """Shut NVML down (for this reader only; others in the process keep theirs)."""
        with _DRIVER:
            self._shut_down()
            self._retry_at = 0.0

    def _count_changed(self) -> bool:
        if self._nvml is None or self._now() < self._recount_at:
            return False
        self._recount_at = self._now() + RECOUNT_SECONDS
        return bool(ask(self._nvml, "nvmlDeviceGetCount")[0] != len(self._devices))

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
        count, fault, words = ask(pynvml, "nvmlDeviceGetCount")
        if not count:
            self._shut_down()
            reason = nvml_reasons.NO_GPU if fault is None else nvml_reasons.of_initialisation(fault, words)
            self._give_up(reason, RETRY_FAULT_SECONDS)
            return
        self._devices = [open_device(pynvml, index, known.get(index), self._rates) for index in range(count)]
        self._reason = None
        sick = any(device.fault not in (None, nvml_reasons.NO_PERMISSION) for device in self._devices)
        self._retry_at = self._now() + RETRY_FAULT_SECONDS if sick else float("inf")
        self._recount_at = self._now() + RECOUNT_SECONDS

    def _read_device(self, device: NvmlDevice) -> GpuReading:
        healthy = device.fault is None
        reading = device.read(self._now())
        if healthy and device.fault is not None:
            self._retry_at = self._now() + RETRY_FAULT_SECONDS
        if device.shut_down_by_others:
            self._retry_at = 0.0  # the next read initialises again
        if reading.error is not None:
            self._log_once(reading.error)
        if reading is device.whole:  # later ones lack the same figures
            for figure, words in reading.not_reported.items():
                self._log_once(f"GPU {device.index} does not report {figure}: {words}")
        return reading

    def _shut_down(self) -> None:
        if self._nvml is not None:
            for device in self._devices:
                device.close()
            ask(self._nvml, "nvmlShutdown")
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
