"""The GPUs that torch may use, named without touching them.

Asking torch for a name gives this process a CUDA context, some hundred MiB of a GPU that others compute on.
"""

from typing import NamedTuple

from workshop_utils.hardware.my_gpus import my_gpus
from workshop_utils.hardware.nvml import Nvml


class CudaGpu(NamedTuple):
    """``memory_bytes``: all that the GPU, or the slice of it, has."""

    name: str
    memory_bytes: int


def cuda_gpus() -> tuple[CudaGpu, ...]:
    """Return what torch would use, in its order: the driver's words, torch's where these may be others.

    Torch is asked for MIG slices, which the driver names apart, and once it holds a context anyhow.
    """
    import torch

    if not torch.cuda.is_available():
        return ()
    count = torch.cuda.device_count()
    found = () if torch.cuda.is_initialized() else _of_the_driver()
    if len(found) == count:
        return found
    asked = [torch.cuda.get_device_properties(index) for index in range(count)]
    return tuple(CudaGpu(each.name, each.total_memory) for each in asked)


def _of_the_driver() -> tuple[CudaGpu, ...]:
    nvml = Nvml()
    try:
        reading = nvml.read()
    finally:
        nvml.close()
    gpus = my_gpus(reading.data or ())
    if any(gpu.mig is not None for gpu in gpus):
        return ()
    return tuple(
        CudaGpu(gpu.name, gpu.memory_total_bytes) for gpu in gpus if gpu.name and gpu.memory_total_bytes
    )
