"""What is read of one GPU, a line a figure: its name in the stream, NVML's function, the conversion.

Functions and units: https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from workshop_utils.hardware.reading import GpuProcess

# Seconds between two readings at the fastest rates: only what changes by the moment is worth ten a second;
# the driver's power, for one, is an average over a second (Ampere and later). A tick may come a tenth early.
# ``SLOWLY``: what nobody watches by the second. ``SELDOM`` are limits and what moves with them.
PERIODS = EVERY_TICK, SECOND, SLOWLY, SELDOM = 0.0, 0.9, 2.9, 9.0
CORE_SENSOR = 0
SM_CLOCK, MEMORY_CLOCK = 1, 2
# Bits of nvmlClocksEventReasons that hold a GPU back, each with words for a reader. Being idle, clocks that
# somebody chose, and a neighbour's clocks hold nothing back.
THROTTLE_REASONS = {
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x20: "temperature, by software",
    0x40: "temperature, by hardware",
    0x80: "power brake",
    0x200: "board limit",
    0x400: "reliability",
}


class Figure(NamedTuple):
    """One ``field`` of ``GpuReading``, asked every ``period`` seconds at most."""

    field: str
    function: str
    arguments: tuple[object, ...] = ()
    convert: Callable[[Any], Any] = lambda value: value
    period: float = SECOND


def thousandths(value: int) -> float:
    """Return watts of NVML's milliwatts."""
    return value / 1000


def throttle_reasons(bits: int) -> list[str]:
    """Return what holds the clocks back, in words."""
    return [words for bit, words in THROTTLE_REASONS.items() if bits & bit]


def processes(found: Iterable[Any]) -> list[GpuProcess]:
    """Return the programs that compute on a GPU; memory is None where the driver hides it."""
    return [GpuProcess(each.pid, each.usedGpuMemory) for each in found]


FIGURES = (
    Figure(
        "utilization_percent",
        "nvmlDeviceGetUtilizationRates",
        convert=lambda rates: rates.gpu,
        period=EVERY_TICK,
    ),
    Figure("power_watts", "nvmlDeviceGetPowerUsage", convert=thousandths),
    Figure("power_limit_watts", "nvmlDeviceGetEnforcedPowerLimit", convert=thousandths, period=SELDOM),
    Figure("temperature_celsius", "nvmlDeviceGetTemperature", (CORE_SENSOR,), period=SLOWLY),
    Figure("sm_clock_mhz", "nvmlDeviceGetClockInfo", (SM_CLOCK,)),
    Figure("memory_clock_mhz", "nvmlDeviceGetClockInfo", (MEMORY_CLOCK,), period=SELDOM),
    Figure(
        "throttle_reasons",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        convert=throttle_reasons,
        period=SLOWLY,
    ),
    Figure("processes", "nvmlDeviceGetComputeRunningProcesses", convert=processes, period=SLOWLY),
)
