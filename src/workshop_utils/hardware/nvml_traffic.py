"""Traffic of a GPU without GPM: NVLink by the driver's counters, as bytes a second between two readings.

Counters: ``NVML_FI_DEV_*`` of nvml.h, KiB of user data over all links together. Those of PCIe are not used:
they have 32 bits and begin anew after 4 GiB, which a fast link moves in less than a tenth of a second.
"""

from typing import Any, NamedTuple

from workshop_utils.hardware.rate import Rate

ALL_LINKS = 0xFFFFFFFF
KIB = 1024
MICROSECONDS = 1e6
# Which member of NVML's union a value type names.
UNION = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

# The binding's structures look up every field in Python, which costs more than the call; this does not.
_get = object.__getattribute__


class Counter(NamedTuple):
    """A counter of the driver, in units of ``unit_bytes``, and the field of the stream for its rate."""

    field: str
    number: int
    scope: int
    unit_bytes: int


COUNTERS = (
    Counter("nvlink_tx_bytes_per_s", 138, ALL_LINKS, KIB),
    Counter("nvlink_rx_bytes_per_s", 139, ALL_LINKS, KIB),
)
WANTED = [(counter.number, counter.scope) for counter in COUNTERS]


class Traffic:
    """The counters of one GPU."""

    def __init__(self) -> None:
        self._rates = {counter.field: Rate() for counter in COUNTERS}

    def rates(self, values: Any, ticks: float) -> tuple[dict[str, float | None], dict[str, int]]:
        """Return bytes a second by field, and the error code of each counter that the driver does not have.

        ``values``: NVML's array, ``ticks``: seconds of a clock for drivers that stamp no time. The first
        reading, and one after the counter began anew, have no rate (None).
        """
        found: dict[str, float | None] = {}
        missing: dict[str, int] = {}
        for counter, value in zip(COUNTERS, values, strict=True):
            code = _get(value, "nvmlReturn")
            if code:
                missing[counter.field] = code
                continue
            count = _get(_get(value, "value"), UNION[_get(value, "valueType")]) * counter.unit_bytes
            stamp = _get(value, "timestamp")
            seconds = stamp / MICROSECONDS if stamp else ticks
            found[counter.field] = self._rates[counter.field].add(count, seconds)
        return found, missing
