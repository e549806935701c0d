"""CPU and memory of this job and of the machine around it."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from workshop_utils.hardware.reading import Reading
from workshop_utils.monitor import limits, usage
from workshop_utils.monitor.cgroup import Lineage, find_lineages
from workshop_utils.monitor.host_traffic import HostTraffic

MACHINE = "machine"
# Limits change only when an administrator or a scheduler changes them; reading them takes a dozen files.
LIMITS_SECONDS = 30.0
NO_PSUTIL = (
    "The Python package psutil is not installed where JupyterLab runs, so CPU and memory cannot be read; "
    "install it there and restart the server."
)
NOT_COUNTED = "nothing on this machine counts it for the job alone"


@dataclass(frozen=True)
class HostReading:
    """The host at one moment; the fields are the JSON keys of the stream. Percent run from 0 to 100.

    Disk and network are the machine's, without its loopback. ``job_ends_at`` is in seconds since 1970, None
    outside of a job with a time limit. ``cpu_percent`` is of the job's cores over the last second.
    ``memory_used_bytes`` is what the job holds without reclaimable page cache (see ``usage.memory_bytes``),
    and for the machine everything that a new program could not have (total - available). What cannot be known
    is None and named in ``not_reported``.
    """

    cpu_percent: float | None
    cpu_limit_cores: float
    cpu_limit_source: str
    machine_cpu_percent: float | None
    machine_cpu_cores: int
    memory_used_bytes: int | None
    memory_limit_bytes: int
    memory_limit_source: str
    machine_memory_used_bytes: int
    machine_memory_total_bytes: int
    disk_read_bytes_per_s: float | None = None
    disk_write_bytes_per_s: float | None = None
    network_receive_bytes_per_s: float | None = None
    network_send_bytes_per_s: float | None = None
    job_ends_at: float | None = None
    not_reported: dict[str, str] = field(default_factory=dict)


class Host:
    """Reads the host. Holds its own counters, so any number of readers get right percentages."""

    def __init__(
        self,
        root: Path = Path("/"),
        environment: Mapping[str, str] = os.environ,
        affinity: Callable[[], frozenset[int]] = limits.affinity_of_this_process,
    ) -> None:
        self._root = root
        self._environment = environment
        self._affinity = affinity
        self.close()

    def close(self) -> None:
        """Forget the counters: after a pause they would average over the pause."""
        self._machine_busy = usage.BusyShare()
        self._job_busy = usage.BusyShare()
        self._machine_cores = 1
        self._limits_at = float("-inf")
        self._lineages: dict[str, Lineage] = {}
        self._cpu_limit: limits.Limit | None = None
        self._memory_limit: limits.Limit | None = None
        self._job_ends_at: float | None = None
        self._traffic = HostTraffic()

    def read(self) -> Reading[HostReading]:
        """Read the host now. A missing psutil is a reason, not an exception."""
        try:
            import psutil
        except ImportError:
            return Reading.missing(NO_PSUTIL)
        now = time.monotonic()
        memory = psutil.virtual_memory()
        if now - self._limits_at >= LIMITS_SECONDS:
            self._machine_cores = psutil.cpu_count() or 1
            self._find_limits(memory.total)
            self._job_ends_at = limits.job_end(self._environment)
            self._limits_at = now
        machine_busy = self._machine_busy.add(now, _busy_seconds(psutil.cpu_times()))
        machine_percent = _percent(machine_busy, self._machine_cores)
        job_percent, cpu_gap = self._job_cpu_percent(psutil, now, machine_percent)
        machine_used = memory.total - memory.available
        job_used, memory_gap = self._job_memory_bytes(machine_used)
        traffic, traffic_gap = self._traffic.read(psutil, now)
        cpu, ram = self._cpu_limit, self._memory_limit
        return Reading.of(
            HostReading(
                cpu_percent=job_percent,
                cpu_limit_cores=self._machine_cores if cpu is None else cpu.amount,
                cpu_limit_source=MACHINE if cpu is None else cpu.source,
                machine_cpu_percent=machine_percent,
                machine_cpu_cores=self._machine_cores,
                memory_used_bytes=job_used,
                memory_limit_bytes=memory.total if ram is None else int(ram.amount),
                memory_limit_source=MACHINE if ram is None else ram.source,
                machine_memory_used_bytes=machine_used,
                machine_memory_total_bytes=memory.total,
                job_ends_at=self._job_ends_at,
                **traffic,
                not_reported={**cpu_gap, **memory_gap, **traffic_gap},
            )
        )

    def _find_limits(self, machine_bytes: int) -> None:
        self._lineages = find_lineages(self._root)
        self._memory_limit = limits.memory_limit(self._lineages, self._environment, machine_bytes)
        found = limits.cpu_limit(self._lineages, self._environment, self._affinity(), self._machine_cores)
        if found != self._cpu_limit:  # the counter of another cgroup may follow
            self._job_busy = usage.BusyShare()
        self._cpu_limit = found

    def _job_cpu_percent(
        self, psutil: ModuleType, now: float, machine_percent: float | None
    ) -> tuple[float | None, dict[str, str]]:
        """Percent of the job's cores: from its cgroup, else from the CPUs that it is bound to."""
        limit = self._cpu_limit
        if limit is None:
            return machine_percent, {}
        folder = limit.folder or (None if limit.cpus else self._own_folder("cpuacct"))
        busy = usage.cpu_seconds(self._lineages, folder) if folder else None
        if busy is None and limit.cpus:
            per_cpu = psutil.cpu_times(percpu=True)
            if max(limit.cpus) < len(per_cpu):
                busy = sum(_busy_seconds(per_cpu[cpu]) for cpu in limit.cpus)
        if busy is None:
            return None, {"cpu_percent": NOT_COUNTED}
        return _percent(self._job_busy.add(now, busy), limit.amount), {}

    def _job_memory_bytes(self, machine_used: int) -> tuple[int | None, dict[str, str]]:
        limit = self._memory_limit
        if limit is None:
            return machine_used, {}
        folder = limit.folder or self._own_folder("memory")
        used = usage.memory_bytes(self._lineages, folder) if folder else None
        return used, {} if used is not None else {"memory_used_bytes": NOT_COUNTED}

    def _own_folder(self, controller: str) -> Path | None:
        """Find the cgroup of this process; None if that is the root, which counts the whole machine."""
        lineage = self._lineages.get(controller)
        return lineage.folders[0] if lineage and len(lineage.folders) > 1 else None


def _busy_seconds(times: Any) -> float:
    """CPU seconds spent on work. Linux counts a guest's time in user and nice already (proc_stat(5))."""
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - guest - times.idle - getattr(times, "iowait", 0.0))


def _percent(cores_in_use: float | None, cores: float) -> float | None:
    return None if cores_in_use is None else round(min(100.0, 100.0 * cores_in_use / cores), 1)
