"""Which of the GPUs that the driver shows are this process's: those that CUDA would let it use."""

import os
from collections.abc import Mapping, Sequence

from workshop_utils.hardware.reading import GpuReading

VISIBLE = "CUDA_VISIBLE_DEVICES"
ALL_HIDDEN = f"{VISIBLE} hides all GPUs of this machine from this process."


def my_gpus(
    gpus: Sequence[GpuReading], environment: Mapping[str, str] = os.environ
) -> tuple[GpuReading, ...]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` names, or without it all but other jobs'.

    It names numbers or the beginning of a uuid, and what follows a wrong one is not seen:
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#env-vars. A MIG slice has no figures of its own, so
    that all GPUs that are open to this process count.
    """
    named = environment.get(VISIBLE)
    if named is None or "MIG-" in named:
        return tuple(gpu for gpu in gpus if gpu.status != "unavailable") or tuple(gpus)
    found: list[GpuReading] = []
    for name in (each.strip() for each in named.split(",")):
        gpu = next((gpu for gpu in gpus if _is_named(gpu, name)), None)
        if gpu is None:
            break
        found.append(gpu)
    return tuple(found)


def _is_named(gpu: GpuReading, name: str) -> bool:
    if name.startswith("GPU-"):
        return (gpu.uuid or "").startswith(name)
    return name == str(gpu.index)
