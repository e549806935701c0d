"""On what ``workshop bench memory`` measures: the GPUs that torch will see, or the CPU; without torch."""

import os
from dataclasses import dataclass

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu, find_gpu
from workshop_utils.hardware.machine import InstalledGpu, Machine, find_machine
from workshop_utils.measure.provenance import cpu_name


@dataclass(frozen=True, slots=True)
class BenchMachine:
    """``device`` is cuda or cpu; ``gpu`` the catalogue's type, None for the CPU and types it does not have.

    ``memory_bytes``: what a program can use of the smallest GPU; None for the CPU, where nothing is called
    out of memory beforehand.
    """

    device: str
    gpus: int
    gpu: Gpu | None
    memory_bytes: int | None
    hardware: str
    driver: str | None


def bench_machine(device: str | None, machine: Machine | None = None) -> BenchMachine:
    """Return what to measure on: ``device`` as asked, else GPUs where the driver shows usable ones.

    Raises WorkshopError when GPUs are asked for and there are none.
    """
    machine = machine or find_machine()
    gpus = visible([gpu for gpu in machine.gpus if gpu.fault is None])
    if device == "cpu" or (device is None and not gpus):
        return BenchMachine("cpu", 0, None, None, cpu_name(), None)
    if not gpus:
        reason = machine.no_gpu_reason or "CUDA_VISIBLE_DEVICES hides all of them"
        raise WorkshopError(f"there is no GPU to measure on ({reason}); leave --device out for the CPU.")
    smallest = min(gpus, key=lambda gpu: gpu.memory_total_bytes or 0)
    known = catalogue_entry(smallest)
    name = smallest.name or "GPU of unknown name"
    return BenchMachine(
        device="cuda",
        gpus=len(gpus),
        gpu=known,
        memory_bytes=known.usable_bytes if known else smallest.memory_total_bytes,
        hardware=f"{len(gpus)} × {name}" if len(gpus) > 1 else name,
        driver=machine.driver_version,
    )


def visible(gpus: list[InstalledGpu]) -> list[InstalledGpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, by index or uuid; all where it is not set."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    return [
        gpu
        for gpu in gpus
        if any(word == str(gpu.index) or (gpu.uuid or "").startswith(word) for word in words)
    ]


def catalogue_entry(gpu: InstalledGpu) -> Gpu | None:
    try:
        return find_gpu(gpu.name or "")
    except WorkshopError:
        return None
