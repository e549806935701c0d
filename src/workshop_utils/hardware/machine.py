"""What is in this machine: its GPUs, or the reason why there are none."""

from dataclasses import dataclass

from workshop_utils.hardware.nvml import Nvml


@dataclass(frozen=True)
class InstalledGpu:
    """A GPU that the driver shows to this process, whether or not PyTorch may use it.

    ``fault`` says why it cannot be used (lost, another job's), else None. ``compute_capability`` is CUDA's,
    (9, 0) for Hopper. ``memory_used_bytes`` is that of all programs. What the driver does not report is None.
    """

    index: int
    uuid: str | None
    name: str | None
    memory_total_bytes: int | None
    compute_capability: tuple[int, int] | None
    fault: str | None
    memory_used_bytes: int | None = None


@dataclass(frozen=True)
class Machine:
    """``no_gpu_reason`` is one sentence for a reader, and None exactly when ``gpus`` has a usable one.

    ``driver_version`` reads like ``580.95.05``; ``cuda_version`` is the newest CUDA that the driver can run,
    as (13, 0): a PyTorch built for a newer one finds no GPU.
    """

    gpus: tuple[InstalledGpu, ...]
    no_gpu_reason: str | None
    driver_version: str | None
    cuda_version: tuple[int, int] | None


def find_machine() -> Machine:
    """Look once. Initialises NVML and lets it go again: some milliseconds, up to seconds on a cold driver."""
    nvml = Nvml(rates=False)
    try:
        reading = nvml.read()
        if reading.data is None:
            return Machine((), reading.error, None, None)
        gpus = tuple(
            InstalledGpu(
                index=gpu.index,
                uuid=gpu.uuid,
                name=gpu.name,
                memory_total_bytes=gpu.memory_total_bytes,
                compute_capability=nvml.compute_capability(gpu.index),
                fault=gpu.error,
                memory_used_bytes=gpu.memory_used_bytes,
            )
            for gpu in reading.data
        )
        usable = any(gpu.fault is None for gpu in gpus)
        return Machine(gpus, None if usable else gpus[0].fault, nvml.driver_version(), nvml.cuda_version())
    finally:
        nvml.close()
