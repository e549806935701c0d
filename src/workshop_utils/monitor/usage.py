"""How much CPU time and memory a cgroup has used."""

from collections import deque
from collections.abc import Mapping
from pathlib import Path

from workshop_utils.monitor.cgroup import V2, Lineage, read_number, read_table

WINDOW_SECONDS = 1.0


class BusyShare:
    """Turns a growing counter of busy seconds into cores in use over the last second.

    The window is wider than one sample because ``/proc/stat`` counts in hundredths of a second: at ten
    samples a second, one sample of two cores would move in steps of five percent.
    """

    def __init__(self) -> None:
        self._readings: deque[tuple[float, float]] = deque()

    def add(self, time_seconds: float, busy_seconds: float) -> float | None:
        """Return the cores in use since about one second ago; None for the first reading."""
        self._readings.append((time_seconds, busy_seconds))
        while len(self._readings) > 2 and self._readings[1][0] <= time_seconds - WINDOW_SECONDS:
            self._readings.popleft()
        first_time, first_busy = self._readings[0]
        if time_seconds <= first_time:
            return None
        return max(0.0, busy_seconds - first_busy) / (time_seconds - first_time)


def cpu_seconds(lineages: Mapping[str, Lineage], limit_folder: Path) -> float | None:
    """Return the CPU seconds used by the cgroup that holds a limit, or None if it does not count them.

    v2 counts in ``cpu.stat`` of every cgroup. v1 counts in the ``cpuacct`` tree, which may be another tree
    than the limit's: then the cgroup at the same place in it.
    """
    accounting = lineages.get("cpuacct")
    if accounting is None:
        return None
    if accounting.version == V2:
        usage_us = read_table(limit_folder / "cpu.stat").get("usage_usec")
        return None if usage_us is None else usage_us / 1e6
    for name in ("cpu", "cpuset"):
        limited = lineages.get(name)
        if limited is not None and limit_folder in limited.folders:
            below = limit_folder.relative_to(limited.folders[-1])
            usage_ns = read_number(accounting.folders[-1] / below / "cpuacct.usage")
            return None if usage_ns is None else usage_ns / 1e9
    return None


def memory_bytes(lineages: Mapping[str, Lineage], limit_folder: Path) -> int | None:
    """Return the bytes a cgroup holds, less the page cache that the kernel would drop first.

    ``memory.current - inactive_file`` (v1: ``memory.usage_in_bytes - total_inactive_file``): what ``docker
    stats`` shows and Kubernetes calls the working set, because files that were read once count towards the
    limit but never end a job. https://docs.docker.com/reference/cli/docker/container/stats/
    """
    lineage = lineages.get("memory")
    if lineage is None:
        return None
    v2 = lineage.version == V2
    used = read_number(limit_folder / ("memory.current" if v2 else "memory.usage_in_bytes"))
    if used is None:
        return None
    inactive = read_table(limit_folder / "memory.stat").get(
        "inactive_file" if v2 else "total_inactive_file", 0
    )
    return max(0, used - inactive)
