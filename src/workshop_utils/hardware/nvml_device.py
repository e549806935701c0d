"""One GPU of the driver: who it is, all figures that it reports, and the fault that ended it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from workshop_utils.hardware import nvml_reasons
from workshop_utils.hardware.nvml_activity import METRICS, NO_GPM, Activity
from workshop_utils.hardware.nvml_figures import FIGURES
from workshop_utils.hardware.nvml_traffic import COUNTERS, WANTED, Traffic
from workshop_utils.hardware.reading import GpuReading

# A tick at 1 Hz may come a tenth early.
SLOW_SECONDS = 0.9


@dataclass
class NvmlDevice:
    """A handle of the driver (None once it stopped being valid), who it was, and the counters so far."""

    nvml: ModuleType
    index: int
    handle: Any = None
    uuid: str | None = None
    name: str | None = None
    fault: int | None = None
    shut_down_by_others: bool = False
    slow_at: float = float("-inf")
    slow: dict[str, Any] = field(default_factory=dict)
    slow_missing: dict[str, str] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    activity: Activity | None = None

    def read(self, ticks: float) -> GpuReading:
        """Read everything; ``ticks`` are seconds of a clock that never jumps."""
        found: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for read in (self._figures, self._memory, self._traffic, self._activity):
            if self.fault is None:
                read(ticks, found, missing)
        if self.fault is not None:
            status, error = nvml_reasons.of_device(self.fault, self.index, self.name)
            return GpuReading(self.index, self.uuid, self.name, status, error)
        return GpuReading(self.index, self.uuid, self.name, not_reported=missing, **found)

    def close(self) -> None:
        """Give back what was allocated in the driver."""
        if self.activity is not None:
            ask_of(self.nvml, self.activity.close)

    def _figures(self, ticks: float, found: dict[str, Any], missing: dict[str, str]) -> None:
        slow_ones_too = ticks - self.slow_at >= SLOW_SECONDS
        if slow_ones_too:
            self.slow_at, self.slow, self.slow_missing = ticks, {}, {}
        for figure in FIGURES:
            if figure.slow and not slow_ones_too:
                continue
            value, words = self._ask(figure.function, *figure.arguments)
            if self.fault is not None:
                return
            if words:
                (self.slow_missing if figure.slow else missing)[figure.field] = words
            else:
                (self.slow if figure.slow else found)[figure.field] = figure.convert(value)
        found |= self.slow
        missing |= self.slow_missing

    def _memory(self, _: float, found: dict[str, Any], missing: dict[str, str]) -> None:
        """Ask the second form first: like nvidia-smi, its ``used`` leaves out what the driver reserves."""
        memory, words = self._ask("nvmlDeviceGetMemoryInfo", self.nvml.nvmlMemory_v2)
        if memory is None and self.fault is None:
            memory, words = self._ask("nvmlDeviceGetMemoryInfo")
        if words:
            missing |= dict.fromkeys(("memory_used_bytes", "memory_total_bytes"), words)
        else:
            found |= {"memory_used_bytes": memory.used, "memory_total_bytes": memory.total}

    def _traffic(self, ticks: float, found: dict[str, Any], missing: dict[str, str]) -> None:
        values, words = self._ask("nvmlDeviceGetFieldValues", WANTED)
        if words:
            missing |= dict.fromkeys((counter.field for counter in COUNTERS), words)
        else:
            rates, without = self.traffic.rates(values, ticks)
            found |= rates
            missing |= {name: str(self.nvml.NVMLError(code)) for name, code in without.items()}

    def _activity(self, ticks: float, found: dict[str, Any], missing: dict[str, str]) -> None:
        """Read GPM; a driver or GPU without it says so at every reading, at the cost of one call."""
        if self.activity is None:
            self.activity, _, _ = ask_of(self.nvml, lambda: Activity(self.nvml, self.handle))
        activity = self.activity
        if activity is None or not activity.supported:
            missing |= dict.fromkeys(METRICS, NO_GPM)
            return
        figures, fault, words = ask_of(self.nvml, lambda: activity.read(ticks))
        self._note(fault)
        if words:
            missing |= dict.fromkeys(METRICS, words)
        else:
            found |= figures

    def _ask(self, function: str, *rest: object) -> tuple[Any, str]:
        """Read one figure; the words say why it is missing."""
        value, fault, words = ask(self.nvml, function, self.handle, *rest)
        self._note(fault)
        return value, words

    def _note(self, fault: int | None) -> None:
        """Keep a fault that ends this GPU, and see whether somebody shut NVML down under us."""
        if fault in nvml_reasons.ENDING:
            self.fault = fault
        if fault == nvml_reasons.UNINITIALIZED:
            self.shut_down_by_others = True


def open_device(nvml: ModuleType, index: int, known: NvmlDevice | None) -> NvmlDevice:
    """Return a GPU by the driver's index; one that is lost no longer says who it is, but ``known`` did."""
    device = NvmlDevice(nvml, index)
    device.handle, device.fault, _ = ask(nvml, "nvmlDeviceGetHandleByIndex", index)
    if device.fault is None:
        device.uuid = text(ask(nvml, "nvmlDeviceGetUUID", device.handle)[0])
        device.name = text(ask(nvml, "nvmlDeviceGetName", device.handle)[0])
    if known is not None:
        device.uuid, device.name = device.uuid or known.uuid, device.name or known.name
    return device


def ask(nvml: ModuleType, function: str, *arguments: object) -> tuple[Any, int | None, str]:
    """Call a function of the binding; returns value, error code (None: all well) and the driver's words."""
    return ask_of(nvml, lambda: getattr(nvml, function)(*arguments))


def ask_of(nvml: ModuleType, call: Callable[[], Any]) -> tuple[Any, int | None, str]:
    """Return the same of any call into the driver."""
    try:
        return call(), None, ""
    except nvml.NVMLError as error:
        return None, error.value, str(error)
    except (AttributeError, UnicodeDecodeError) as error:  # an old binding; a name that is no text
        return None, nvml_reasons.FUNCTION_NOT_FOUND, str(error)


def text(name: str | bytes | None) -> str | None:
    """Return a name as text: old releases of the binding hand out bytes."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name
