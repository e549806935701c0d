"""Bytes a second of the machine's disks and networks, from psutil's counters."""

from types import ModuleType

from workshop_utils.hardware.rate import Rate

LOOPBACK = "lo"
# Reading them costs more than all else of the host together: every three seconds is enough (a tick may come
# early).
LEAST_SECONDS = 2.9


class HostTraffic:
    """Keeps the counters of the reading before."""

    def __init__(self) -> None:
        self._rates = {
            name: Rate()
            for name in (
                "disk_read_bytes_per_s", "disk_write_bytes_per_s",
                "network_receive_bytes_per_s", "network_send_bytes_per_s",
            )
        }  # fmt: skip
        self._read_at = float("-inf")
        self._last: dict[str, float | None] = dict.fromkeys(self._rates)

    def read(self, psutil: ModuleType, ticks: float) -> dict[str, float | None]:
        """Return rates by field, new every three seconds; None at first, and where nothing counts."""
        if ticks - self._read_at < LEAST_SECONDS:
            return self._last
        self._read_at = ticks
        counts: dict[str, float] = {}
        disks = psutil.disk_io_counters()
        if disks is not None:
            counts["disk_read_bytes_per_s"] = disks.read_bytes
            counts["disk_write_bytes_per_s"] = disks.write_bytes
        links = [link for name, link in psutil.net_io_counters(pernic=True).items() if name != LOOPBACK]
        counts["network_receive_bytes_per_s"] = sum(link.bytes_recv for link in links)
        counts["network_send_bytes_per_s"] = sum(link.bytes_sent for link in links)
        self._last = {
            name: rate.add(counts[name], ticks) if name in counts else None
            for name, rate in self._rates.items()
        }
        return self._last
