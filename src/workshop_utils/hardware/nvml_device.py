"""One GPU of the driver: who it is, all figures that it reports, and the fault that ended it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from workshop_utils.hardware import nvml_reasons
from workshop_utils.hardware.energy import Energy
from workshop_utils.hardware.nvml_activity import BUSY, METRICS, NO_GPM, PCIE, Activity
from workshop_utils.hardware.nvml_figures import EVERY_TICK, FIGURES, PERIODS, SECOND
from workshop_utils.hardware.nvml_mig import MigInstances
from workshop_utils.hardware.nvml_moving import Moving, MovingFigures, moving_figures
from workshop_utils.hardware.nvml_traffic import COUNTERS, KIB, WANTED, Traffic
from workshop_utils.hardware.reading import MOVING, GpuReading

FIGURES_OF = {period: [figure for figure in FIGURES if figure.period == period] for period in PERIODS}


@dataclass
class NvmlDevice:
    """A handle of the driver (None once it stopped being valid), who it was, and what it last said.

    ``found`` and ``missing`` hold each figure's last value or the words for why there is none, ``read_at``
    when the figures of a period were asked. ``whole`` is the last reading until more than ``MOVING`` changed,
    ``moved`` the same with the figures ``moved_to``.
    """

    nvml: ModuleType
    index: int
    rates: bool = True
    handle: Any = None
    uuid: str | None = None
    name: str | None = None
    fault: int | None = None
    shut_down_by_others: bool = False
    found: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    read_at: dict[float, float] = field(default_factory=dict)
    energy: Energy = field(default_factory=Energy)
    traffic: Traffic = field(default_factory=Traffic)
    activity: Activity | None = None
    mig: MigInstances | None = None
    whole: GpuReading | None = None
    moving: MovingFigures | None = None
    moved_to: Moving | None = None
    moved: GpuReading | None = None

    def read(self, ticks: float) -> GpuReading:
        """Read what is due; ``ticks`` are seconds of a clock that never jumps."""
        return self._moved(ticks) or self._read_due(ticks)

    def close(self) -> None:
        """Give back what was allocated in the driver."""
        if self.activity is not None:
            ask_of(self.nvml, self.activity.close)
        if self.mig is not None:
            self.mig.close()

    def _moved(self, ticks: float) -> GpuReading | None:
        """Read the figures of every tick the short way; None if others are due or anything is unusual."""
        if self.whole is None or self.moving is None or self.fault is not None:
            return None
        if ticks - self.read_at[SECOND] >= SECOND:
            return None
        moving = self.moving.read()
        if moving is None or moving.memory_total_bytes != self.whole.memory_total_bytes:
            return None
        self.read_at[EVERY_TICK] = ticks
        if moving != self.moved_to or self.moved is None:
            self.moved_to = moving
            self.moved = self.whole.moved(
                utilization_percent=moving.utilization_percent, memory_used_bytes=moving.memory_used_bytes
            )
        return self.moved

    def _read_due(self, ticks: float) -> GpuReading:
        self.moved = None
        for period in PERIODS:
            due = ticks - self.read_at.get(period, float("-inf")) >= period
            if due and self.fault is None:
                self.read_at[period] = ticks
                self._read_period(period, ticks)
        if self.fault is not None:
            status, error = nvml_reasons.of_device(self.fault, self.index, self.name)
            return GpuReading(self.index, self.uuid, self.name, status, error)
        if self.whole is None:
            self.whole = GpuReading(
                self.index, self.uuid, self.name, not_reported=dict(self.missing), **self.found
            )
            self.moving = self.moving or moving_figures(self.nvml, self.handle)
            return self.whole
        return self.whole.moved(**{name: self.found.get(name) for name in MOVING})

    def _read_period(self, period: float, ticks: float) -> None:
        if period != EVERY_TICK:
            self.whole = None
        elif self.moving is not None and (moving := self.moving.read()) is not None:
            self._keep_all(moving._asdict(), "")
            return
        for figure in FIGURES_OF[period]:
            value, words = self._ask(figure.function, *figure.arguments)
            if self.fault is not None:
                return
            self._keep(figure.field, None if words else figure.convert(value), words)
        if period == EVERY_TICK:
            self._memory()
        elif period == SECOND and self.rates and self.fault is None:
            self._read_rates(ticks)

    def _read_rates(self, ticks: float) -> None:
        self._energy(ticks)
        self._activity(ticks)
        self.mig = self.mig or MigInstances(self.nvml, self.handle)
        self.found["mig"] = self.mig.read()
        if not (self.activity and self.activity.supported):
            self._pcie()

    def _keep(self, name: str, value: Any, words: str = "") -> None:
        """Remember a figure, or with ``words`` why there is none."""
        if words:
            self.whole = None
            self.missing[name] = words
            self.found.pop(name, None)
            return
        self.found[name] = value
        if name in self.missing:
            self.whole = None
            del self.missing[name]

    def _keep_all(self, figures: Mapping[str, Any], words: str) -> None:
        for name, value in figures.items():
            self._keep(name, value, words)

    def _memory(self) -> None:
        """Ask the second form first: like nvidia-smi, its ``used`` leaves out what the driver reserves."""
        memory, words = self._ask("nvmlDeviceGetMemoryInfo", self.nvml.nvmlMemory_v2)
        if memory is None and self.fault is None:
            memory, words = self._ask("nvmlDeviceGetMemoryInfo")
        used, total = (None, None) if memory is None else (memory.used, memory.total)
        self._keep("memory_used_bytes", used, words)
        if words or total != self.found.get("memory_total_bytes"):
            self.whole = None
            self._keep("memory_total_bytes", total, words)

    def _energy(self, ticks: float) -> None:
        power = self.found.get("power_watts")
        words = self.missing.get("power_watts", "")
        self._keep("energy_joules", None if power is None else self.energy.add(power, ticks), words)

    def _traffic(self, ticks: float) -> None:
        values, words = self._ask("nvmlDeviceGetFieldValues", WANTED)
        if words:
            self._keep_all(dict.fromkeys(counter.field for counter in COUNTERS), words)
            return
        rates, without = self.traffic.rates(values, ticks)
        self._keep_all(rates, "")
        self._missing(without)

    def _activity(self, ticks: float) -> None:
        """Read GPM; a driver or GPU without it says so at every reading, at the cost of one call."""
        if self.activity is None:
            self.activity, _, _ = ask_of(self.nvml, lambda: Activity(self.nvml, self.handle))
        activity = self.activity
        if activity is None or not activity.supported:
            self._keep_all(dict.fromkeys(BUSY), NO_GPM)
            self._traffic(ticks)
            return
        read, fault, words = ask_of(self.nvml, activity.read)
        self._note(fault)
        figures, without = read or (dict.fromkeys(METRICS), {})
        self._keep_all(figures, words)
        self._missing(without)

    def _pcie(self) -> None:
        """Where GPM does not count PCIe, the driver does for 20 ms a direction, in which this thread waits.

        https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html, nvmlDeviceGetPcieThroughput.
        """
        for way, name in enumerate(PCIE):
            kib_per_s, words = self._ask("nvmlDeviceGetPcieThroughput", way)
            self._keep(name, None if words else kib_per_s * KIB, words)

    def _missing(self, codes: Mapping[str, int]) -> None:
        for name, code in codes.items():
            self._keep(name, None, str(self.nvml.NVMLError(code)))

    def _ask(self, function: str, *rest: object) -> tuple[Any, str]:
        """Read one figure; the words say why it is missing."""
        try:
            return getattr(self.nvml, function)(self.handle, *rest), ""
        except Exception as error:
            fault, words = why(self.nvml, error)
            self._note(fault)
            return None, words

    def _note(self, fault: int | None) -> None:
        """Keep a fault that ends this GPU, and see whether somebody shut NVML down under us."""
        if fault in nvml_reasons.ENDING:
            self.fault = fault
        if fault == nvml_reasons.UNINITIALIZED:
            self.shut_down_by_others = True


def open_device(nvml: ModuleType, index: int, known: NvmlDevice | None, rates: bool = True) -> NvmlDevice:
    """Return a GPU by the driver's index; one that is lost no longer says who it is, but ``known`` did."""
    device = NvmlDevice(nvml, index, rates)
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
    except Exception as error:
        return None, *why(nvml, error)


def why(nvml: ModuleType, error: Exception) -> tuple[int, str]:
    """Return the code and the words of what a call raised; what is no fault of the driver goes on."""
    if isinstance(error, nvml.NVMLError):
        return error.value, str(error)
    if isinstance(error, (AttributeError, UnicodeDecodeError)):  # an old binding; a name that is no text
        return nvml_reasons.FUNCTION_NOT_FOUND, str(error)
    raise error


def text(name: str | bytes | None) -> str | None:
    """Return a name as text: old releases of the binding hand out bytes."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name
