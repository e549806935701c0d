"""Each warning as one sentence: the value, the limit, and the next step.

JupyterLab cuts a notification after 140 characters, so that a sentence has no more where names are short.
"""

from collections.abc import Mapping

from workshop_utils.hardware.reading import GpuProcess, GpuReading
from workshop_utils.monitor.host import HostReading
from workshop_utils.monitor.owners import Owner
from workshop_utils.units import GB, GIB

POWER_LIMIT = "power limit"


def gpu_memory(gpu: GpuReading, percent: float, limit: float, unit: str, owners: Mapping[int, Owner]) -> str:
    """Name who holds most, since that is what to free; of a divided GPU, ``gpu`` is one instance."""
    which = f"GPU {gpu.index}" + (f", MIG {gpu.mig[0].name}," if gpu.mig else "")
    used = used_of(gpu.memory_used_bytes or 0, gpu.memory_total_bytes or 0, unit)
    advice = free_most(gpu, unit, owners) or "nvidia-smi may tell who holds it"
    return f"{which} nearly out of memory: {used} ({percent:.0f} %, limit {limit:g} %); {advice}."


def job_memory(host: HostReading, percent: float, limit: float, unit: str) -> str:
    """Say what the system does at the limit, which is what a reader sees as a dead kernel."""
    used = used_of(host.memory_used_bytes or 0, host.memory_limit_bytes, unit)
    machine = host.memory_limit_source == "machine"
    whose = "Machine" if machine else "Job"
    more = "" if machine else ", or ask for more (--mem)"
    return (
        f"{whose} memory nearly full: {used} ({percent:.0f} %, limit {limit:g} %); "
        f"when full, kernels are killed: shut some down{more}."
    )


def idle_gpu(
    gpu: GpuReading, seconds: float, limit_minutes: float, unit: str, owners: Mapping[int, Owner]
) -> str:
    """A cluster looks at the same figure."""
    advice = free_most(gpu, unit, owners) or "end yours if it is done"
    return (
        f"GPU {gpu.index} idle for {duration(seconds)} ({gpu.utilization_percent or 0} % busy, "
        f"limit {duration(60 * limit_minutes)}), and many clusters end such jobs; {advice}."
    )


def throttling(gpu: GpuReading, seconds: float) -> str:
    """A power limit is normal under load; heat and faults are not."""
    advice = (
        "normal at full load; compare times of the same limit only"
        if gpu.throttle_reasons == [POWER_LIMIT]
        else "measure again later; tell the staff if it goes on"
    )
    held = " and ".join(gpu.throttle_reasons or ["its driver"])
    return f"GPU {gpu.index} slowed by {held} for {duration(seconds)}{clocks_of(gpu)}: {advice}."


def clocks_of(gpu: GpuReading) -> str:
    """Return what tells how much a GPU is held back, in brackets; empty where the driver tells nothing."""
    figures = []
    if gpu.sm_clock_mhz is not None:
        figures.append(f"{gpu.sm_clock_mhz} MHz")
    if gpu.temperature_celsius is not None:
        figures.append(f"{gpu.temperature_celsius} °C")
    if gpu.power_watts is not None and gpu.power_limit_watts is not None:
        figures.append(f"{gpu.power_watts:.0f} of {gpu.power_limit_watts:.0f} W")
    return f" ({', '.join(figures)})" if figures else ""


def free_most(gpu: GpuReading, unit: str, owners: Mapping[int, Owner]) -> str | None:
    """Return what frees most of a GPU's memory, None where the driver does not say who holds it."""
    shares: dict[str, int] = {}
    for process in gpu.processes or ():
        if process.memory_bytes is not None:
            step = step_of(process, owners)
            shares[step] = shares.get(step, 0) + process.memory_bytes
    if not shares:
        return None
    most = max(shares, key=lambda step: shares[step])
    return f"{most}: {size(shares[most], unit)}"


def step_of(process: GpuProcess, owners: Mapping[int, Owner]) -> str:
    """Return what to do with a program: all of one notebook end with its kernel."""
    owner = owners.get(process.pid)
    if owner is not None and owner.notebook is not None:
        return f"shut down the kernel of {owner.notebook}"
    if owner is not None and owner.command is not None:
        return f"end {owner.command} (process {process.pid})"
    return f"see process {process.pid} in nvidia-smi"


def used_of(used: int, total: int, unit: str) -> str:
    return f"{number(used, unit)} of {size(total, unit)}"


def size(size_bytes: int, unit: str) -> str:
    return f"{number(size_bytes, unit)} {unit}"


def number(size_bytes: int, unit: str) -> str:
    return f"{size_bytes / (GB if unit == 'GB' else GIB):.1f}"


def duration(seconds: float) -> str:
    """``45 s``, ``15 min``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
