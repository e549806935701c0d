"""What one provider says: its data, or one sentence about why there is none."""

import json
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
# The figures of a GPU that are new at every tick of the fastest rate.
MOVING = ("utilization_percent", "memory_used_bytes")
# Made once: ``json.dumps`` makes an encoder for every call. What is read has no circles.
_encode = json.JSONEncoder(check_circular=False, default=vars).encode


class Encoded:
    """Keeps its JSON, which is made when somebody asks, in a slot: the fields alone are in ``vars``."""

    __slots__ = ("_json", "_rest")
    _json: str
    _rest: str

    @property
    def json(self) -> str:
        """The fields as a JSON object, encoded once however many samples they are part of."""
        try:
            return self._json
        except AttributeError:
            object.__setattr__(self, "_json", self._encode())
            return self._json

    def _encode(self) -> str:
        return _encode(vars(self))


@dataclass(frozen=True)
class Reading(Encoded, Generic[T]):
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

    def _encode(self) -> str:
        """Join the GPUs, most of whose JSON is there already."""
        if not isinstance(self.data, tuple):
            return super()._encode()
        parts = ", ".join(each.json if isinstance(each, Encoded) else _encode(each) for each in self.data)
        envelope = _encode({"status": self.status, "error": self.error})[:-1]
        return f'{envelope}, "data": [{parts}]}}'


@dataclass(frozen=True)
class GpuProcess:
    """A program on a GPU, by the driver's number of it; ``memory_bytes`` None where the driver hides it."""

    pid: int
    memory_bytes: int | None


@dataclass(frozen=True)
class MigReading:
    """One MIG instance of a GPU; None for what the driver does not report. ``sm_percent``: of its own SMs."""

    uuid: str | None
    name: str | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    sm_percent: float | None
    processes: list[GpuProcess] | None


@dataclass(frozen=True)
class GpuReading(Encoded):
    """One GPU at one moment; the fields are the JSON keys of the stream.

    ``status``: ``ok``, ``lost`` (it fell off the bus or needs a reset) or ``unavailable`` (the driver refuses
    it), the last two with ``error``. A figure that the driver does not report is None and named, with the
    driver's words, in ``not_reported``. ``energy_joules``: power over time since the first reading.
    ``throttle_reasons`` say what holds the clocks back now, in words. Rates are averages since the reading
    before, None at the first. ``utilization_percent``: time with any kernel; ``sm_percent``,
    ``tensor_percent``, ``dram_percent``: the share of the SMs, tensor cores and memory bandwidth in use.
    ``mig``: the instances of a GPU that is divided, else None.
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
    mig: list[MigReading] | None = None
    not_reported: dict[str, str] = field(default_factory=dict)

    def moved(self, **figures: Any) -> "GpuReading":
        """Return the reading of a later moment at which only ``MOVING`` figures were asked: these ones."""
        later = object.__new__(GpuReading)
        # A copy has its size at once, where an empty dictionary that is filled grows four times.
        object.__setattr__(later, "__dict__", vars(self).copy())
        vars(later).update(figures)
        object.__setattr__(later, "_rest", self._resting())
        return later

    def _encode(self) -> str:
        return (
            f'{{"utilization_percent": {_whole_number(self.utilization_percent)}, '
            f'"memory_used_bytes": {_whole_number(self.memory_used_bytes)}, {self._resting()}'
        )

    def _resting(self) -> str:
        """Return the JSON of the figures that rest, without its opening bracket; later readings share it."""
        try:
            return self._rest
        except AttributeError:
            rest = {name: value for name, value in vars(self).items() if name not in MOVING}
            object.__setattr__(self, "_rest", _encode(rest)[1:])
            return self._rest


def _whole_number(value: int | None) -> str:
    return "null" if value is None else str(value)
