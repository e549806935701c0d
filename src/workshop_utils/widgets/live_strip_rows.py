"""What the live strip sends: which devices it shows, and a row of float64 numbers for each moment.

A row is the time in seconds since 1970 and three numbers a device: utilisation in percent, memory used in
bytes, power in watts; NaN where there is none. Without a GPU of ours the one device is the host: CPU percent
and memory of the job, no power. Numbers are little-endian, as every browser's are.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any

from workshop_utils.hardware.my_gpus import ALL_HIDDEN
from workshop_utils.hardware.reading import GpuReading
from workshop_utils.monitor.host import HostReading
from workshop_utils.monitor.sample import Sample
from workshop_utils.units import GIB

FIGURES_OF_A_DEVICE = 3


def devices_of(gpus: Sequence[GpuReading], host: HostReading | None) -> list[dict[str, Any]]:
    """Return kind, label, name, memory in bytes and power limit in watts of each GPU, else of the host."""
    if gpus:
        return [
            {
                "kind": "gpu",
                "label": f"GPU {gpu.index}",
                "name": gpu.name,
                "memory_bytes": gpu.memory_total_bytes,
                "power_watts": gpu.power_limit_watts,
            }
            for gpu in gpus
        ]
    memory = None if host is None else host.memory_limit_bytes
    return [{"kind": "host", "label": "This job", "name": None, "memory_bytes": memory, "power_watts": None}]


def figures_of(gpus: Sequence[GpuReading], host: HostReading | None) -> list[float | None]:
    """Return the three figures of each device in turn."""
    if gpus:
        return [
            figure
            for gpu in gpus
            for figure in (gpu.utilization_percent, gpu.memory_used_bytes, gpu.power_watts)
        ]
    return [None] * FIGURES_OF_A_DEVICE if host is None else [host.cpu_percent, host.memory_used_bytes, None]


def row_of(time: float, figures: Sequence[float | None]) -> bytes:
    """Pack one row."""
    numbers = [math.nan if figure is None else figure for figure in figures]
    return struct.pack(f"<{1 + len(numbers)}d", time, *numbers)


def notes_of(gpus: Sequence[GpuReading], sample: Sample) -> list[str]:
    """Return sentences on what is missing: why there is no GPU, which GPU is lost."""
    if gpus:
        return [gpu.error for gpu in gpus if gpu.error]
    found = sample.gpus.error or (ALL_HIDDEN if sample.gpus.data else None)
    return [note for note in (found, sample.host.error) if note]


def words_of(devices: Sequence[dict[str, Any]], figures: Sequence[float | None]) -> str:
    """Return the newest figures as text: ``GPU 0: 37 %, 12.0 GiB, 310 W; GPU 1: …``."""
    texts = []
    for at, device in enumerate(devices):
        busy, memory, power = figures[FIGURES_OF_A_DEVICE * at : FIGURES_OF_A_DEVICE * (at + 1)]
        known = [
            None if busy is None else f"{busy:.0f} %",
            None if memory is None else f"{memory / GIB:.1f} GiB",
            None if power is None else f"{power:.0f} W",
        ]
        texts.append(f"{device['label']}: {', '.join(filter(None, known)) or 'not reported'}")
    return "; ".join(texts)
