"""Which of the GPUs that the driver shows are this process's: those that CUDA would let it use.

On a node whose Slurm hides nothing the driver shows every job's GPUs. Ids are opaque: numbers or the
beginning of a uuid, and numbers count from 0 on where a cgroup hides the other GPUs, while those of
``SLURM_JOB_GPUS`` do not.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from workshop_utils.hardware.reading import GpuReading

VISIBLE = "CUDA_VISIBLE_DEVICES"
ALL_HIDDEN = f"{VISIBLE} hides all GPUs of this machine from this process."
# What Slurm gave a step, or the job here; srun sets the first, a batch script has the second.
SLURM_GPUS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")


class GpuId(NamedTuple):
    """What a GPU can be named by, and whether the driver opens it to this process."""

    number: int
    uuid: str | None
    is_open: bool


def my_gpus(
    gpus: Sequence[GpuReading], environment: Mapping[str, str] = os.environ
) -> tuple[GpuReading, ...]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` names, or without it all but other jobs'.

    It names numbers or the beginning of a uuid, and what follows a wrong one is not seen:
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#env-vars. A MIG slice has no figures of its own, so
    that all GPUs that are open to this process count.
    """
    named = _visible(tuple(map(_id_of, gpus)), environment.get(VISIBLE))
    if named is None:
        return tuple(gpu for gpu in gpus if gpu.status != "unavailable") or tuple(gpus)
    by_index = {gpu.index: gpu for gpu in gpus}
    return tuple(by_index[index] for index in named)


def held_gpus(
    gpus: Sequence[GpuReading], environment: Mapping[str, str] = os.environ
) -> tuple[int, ...] | None:
    """Return the indices of the GPUs that this job holds, in order; None where nothing on the machine says.

    ``CUDA_VISIBLE_DEVICES`` says so, and without it Slurm's list; where as many GPUs as that list has are
    open to this process, a cgroup hides the others, and these are meant.
    """
    slurm = next((environment[name] for name in SLURM_GPUS if name in environment), None)
    # Plain tuples: this is asked for every sample, ten times a second.
    ids = tuple([(gpu.index, gpu.uuid, gpu.status != "unavailable") for gpu in gpus])
    return _held(ids, environment.get(VISIBLE), slurm)


def _id_of(gpu: GpuReading) -> GpuId:
    return GpuId(gpu.index, gpu.uuid, gpu.status != "unavailable")


@functools.lru_cache(maxsize=16)  # the same but for GPUs that are lost
def _held(
    ids: tuple[tuple[int, str | None, bool], ...], visible: str | None, slurm: str | None
) -> tuple[int, ...] | None:
    gpus = tuple(GpuId(*each) for each in ids)
    named = _visible(gpus, visible)
    if named is not None:
        return tuple(sorted(named))
    if slurm is None or "MIG-" in (visible or "") + slurm:
        return None
    names = _names(slurm)
    opened = tuple(gpu.number for gpu in gpus if gpu.is_open)
    if len(opened) <= len(names):  # a cgroup hides the others, so these numbers are not the driver's
        return opened or None
    found = tuple(gpu.number for gpu in gpus if any(_is_named(gpu, name) for name in names))
    return found if len(found) == len(names) else None


def _visible(gpus: tuple[GpuId, ...], visible: str | None) -> tuple[int, ...] | None:
    """Return the GPUs that CUDA would number 0, 1, …; None where it would show all that are open."""
    if visible is None or "MIG-" in visible:
        return None
    names = _names(visible)
    found: list[GpuId] = []
    for name in names:
        gpu = next((gpu for gpu in gpus if _is_named(gpu, name)), None)
        if gpu is None:
            break
        found.append(gpu)
    opened = [gpu for gpu in gpus if gpu.is_open]
    if not all(gpu.is_open for gpu in found) and len(opened) == len(names):
        found = opened  # numbers of a cgroup, which count the GPUs that it does not hide
    return tuple(gpu.number for gpu in found)


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",")]


def _is_named(gpu: GpuId, name: str) -> bool:
    if name.startswith("GPU-"):
        return (gpu.uuid or "").startswith(name)
    return name == str(gpu.number)
