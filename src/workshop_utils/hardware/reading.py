"""What one provider says: its data, or one sentence about why there is none."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """The envelope of every provider in the stream; its fields are the JSON keys.

    ``status`` is ``ok`` (``data`` is there) or ``unavailable`` (``data`` is None and ``error`` is one
    sentence for a reader: what is missing, the likely cause, the next step).
    """

    status: str
    error: str | None
    data: T | None

    @staticmethod
    def of(data: T) -> "Reading[T]":
        """Wrap what was read."""
        return Reading("ok", None, data)

    @staticmethod
    def missing(reason: str) -> "Reading[T]":
        """Say in one sentence why nothing could be read."""
        return Reading("unavailable", reason, None)


@dataclass(frozen=True)
class GpuProcess:
    """A program on a GPU, by the driver's number of it; ``memory_bytes`` None where the driver hides it."""

    pid: int
    memory_bytes: int | None


@dataclass(frozen=True)
class GpuReading:
    """One GPU at one moment; the fields are the JSON keys of the stream.

    ``status``: ``ok``, ``lost`` (it fell off the bus or needs a reset) or ``unavailable`` (the driver refuses
    it), the last two with ``error``. A figure that the driver does not report is None and named, with the
    driver's words, in ``not_reported``. ``energy_joules`` counts from when the driver was loaded.
    ``throttle_reasons`` say what holds the clocks back now, in words. Rates are averages since the reading
    before, None at the first. ``utilization_percent``: time with any kernel; ``sm_percent``,
    ``tensor_percent``, ``dram_percent``: the share of the SMs, tensor cores and memory bandwidth in use.
    """

    index: int
    uuid: str | None
    name: str | None
    status: str = "ok"
    error: str | None = None
    utilization_percent: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_joules: float | None = None
    temperature_celsius: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttle_reasons: list[str] | None = None
    pcie_tx_bytes_per_s: float | None = None
    pcie_rx_bytes_per_s: float | None = None
    nvlink_tx_bytes_per_s: float | None = None
    nvlink_rx_bytes_per_s: float | None = None
    sm_percent: float | None = None
    tensor_percent: float | None = None
    dram_percent: float | None = None
    processes: list[GpuProcess] | None = None
    not_reported: dict[str, str] = field(default_factory=dict)
