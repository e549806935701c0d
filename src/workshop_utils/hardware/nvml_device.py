"""One GPU of the driver: who it is, all figures that it reports, and the fault that ended it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from workshop_utils.hardware import nvml_reasons
from workshop_utils.hardware.nvml_activity import METRICS, NO_GPM, Activity
from workshop_utils.hardware.nvml_figures import EVERY_TICK, FIGURES, HALF_SECOND, SECOND
from workshop_utils.hardware.nvml_traffic import COUNTERS, WANTED, Traffic
from workshop_utils.hardware.reading import GpuReading

FIGURES_OF = {
    period: [figure for figure in FIGURES if figure.period == period]
    for period in (EVERY_TICK, HALF_SECOND, SECOND)
}


@dataclass
class NvmlDevice:
    """A handle of the driver (None once it stopped being valid), who it was, and what it last said.

    ``found`` and ``missing`` hold each figure's last value or the words for why there is none, ``read_at``
    when the figures of a period were asked.
    """

    nvml: ModuleType
    index: int
    handle: Any = None
    uuid: str | None = None
    name: str | None = None
    fault: int | None = None
    shut_down_by_others: bool = False
    found: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    read_at: dict[float, float] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    activity: Activity | None = None

    def read(self, ticks: float) -> GpuReading:
        """Read what is due; ``ticks`` are seconds of a clock that never jumps."""
        for period in (EVERY_TICK, HALF_SECOND, SECOND):
            due = ticks - self.read_at.get(period, float("-inf")) >= period
            if due and self.fault is None:
                self.read_at[period] = ticks
                self._read_period(period, ticks)
        if self.fault is not None:
            status, error = nvml_reasons.of_device(self.fault, self.index, self.name)
            return GpuReading(self.index, self.uuid, self.name, status, error)
        return GpuReading(self.index, self.uuid, self.name, not_reported=dict(self.missing), **self.found)

    def close(self) -> None:
        """Give back what was allocated in the driver."""
        if self.activity is not None:
            ask_of(self.nvml, self.activity.close)

    def _read_period(self, period: float, ticks: float) -> None:
        for figure in FIGURES_OF[period]:
            value, words = self._ask(figure.function, *figure.arguments)
            if self.fault is not None:
                return
            self._keep({figure.field: None if words else figure.convert(value)}, words)
        if period == EVERY_TICK:
            self._memory()
        elif period == HALF_SECOND and self.fault is None:
            self._traffic(ticks)
            self._activity()

    def _keep(self, figures: Mapping[str, Any], words: str) -> None:
        """Remember figures, or with ``words`` why there are none."""
        for name, value in figures.items():
            if words:
                self.missing[name] = words
                self.found.pop(name, None)
            else:
                self.found[name] = value
                self.missing.pop(name, None)

    def _memory(self) -> None:
        """Ask the second form first: like nvidia-smi, its ``used`` leaves out what the driver reserves."""
        memory, words = self._ask("nvmlDeviceGetMemoryInfo", self.nvml.nvmlMemory_v2)
        if memory is None and self.fault is None:
            memory, words = self._ask("nvmlDeviceGetMemoryInfo")
        used, total = (None, None) if memory is None else (memory.used, memory.total)
        self._keep({"memory_used_bytes": used, "memory_total_bytes": total}, words)

    def _traffic(self, ticks: float) -> None:
        values, words = self._ask("nvmlDeviceGetFieldValues", WANTED)
        if words:
            self._keep(dict.fromkeys(counter.field for counter in COUNTERS), words)
            return
        rates, without = self.traffic.rates(values, ticks)
        self._keep(rates, "")
        for name, code in without.items():
            self._keep({name: None}, str(self.nvml.NVMLError(code)))

    def _activity(self) -> None:
        """Read GPM; a driver or GPU without it says so at every reading, at the cost of one call."""
        if self.activity is None:
            self.activity, _, _ = ask_of(self.nvml, lambda: Activity(self.nvml, self.handle))
        activity = self.activity
        if activity is None or not activity.supported:
            self._keep(dict.fromkeys(METRICS), NO_GPM)
            return
        figures, fault, words = ask_of(self.nvml, activity.read)
        self._note(fault)
        self._keep(figures or dict.fromkeys(METRICS), words)

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
