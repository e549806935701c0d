"""Bytes a second of the machine's disks and networks, from psutil's counters."""

from types import ModuleType

from workshop_utils.hardware.rate import Rate

LOOPBACK = "lo"
DISKS = ("disk_read_bytes_per_s", "disk_write_bytes_per_s")
NETWORKS = ("network_receive_bytes_per_s", "network_send_bytes_per_s")
# Reading them costs more than all else of the host together: every three seconds is enough (a tick may come
# early).
LEAST_SECONDS = 2.9


class HostTraffic:
    """Keeps the counters of the reading before."""

    def __init__(self) -> None:
        self._rates = {name: Rate() for name in DISKS + NETWORKS}
        self._read_at = float("-inf")
        self._last: dict[str, float | None] = dict.fromkeys(self._rates)
        self._missing: dict[str, str] = {}

    def read(self, psutil: ModuleType, ticks: float) -> tuple[dict[str, float | None], dict[str, str]]:
        """Return rates by field, new every three seconds, and why those that cannot be read are missing.

        None at first, and where nothing counts.
        """
        if ticks - self._read_at < LEAST_SECONDS:
            return self._last, self._missing
        self._read_at = ticks
        counts: dict[str, float] = {}
        self._missing = {}
        for names, read in ((DISKS, _disk_bytes), (NETWORKS, _network_bytes)):
            try:
                counts.update(zip(names, read(psutil), strict=False))
            except Exception as error:  # a hardened container hides the counters; what it raises differs
                reason = f"psutil cannot read it here ({type(error).__name__}: {error})"
                self._missing.update(dict.fromkeys(names, reason))
        self._last = {
            name: rate.add(counts[name], ticks) if name in counts else None
            for name, rate in self._rates.items()
        }
        return self._last, self._missing


def _disk_bytes(psutil: ModuleType) -> tuple[float, ...]:
    """Return what was read and written; nothing where there is no disk."""
    disks = psutil.disk_io_counters()
    return () if disks is None else (disks.read_bytes, disks.write_bytes)


def _network_bytes(psutil: ModuleType) -> tuple[float, ...]:
    links = [link for name, link in psutil.net_io_counters(pernic=True).items() if name != LOOPBACK]
    return sum(link.bytes_recv for link in links), sum(link.bytes_sent for link in links)
