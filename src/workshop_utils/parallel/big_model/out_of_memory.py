"""Out of memory in generation although loading went well: what the device map did not count."""

from collections.abc import Iterator
from contextlib import contextmanager

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.logs.cuda_oom import read_cuda_oom
from workshop_utils.memory.logs.facts import CudaOom
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.devices import DeviceSet
from workshop_utils.parallel.big_model.peaks import DevicePeak, device_peaks
from workshop_utils.parallel.big_model.placement import Placement
from workshop_utils.units import format_gib


@contextmanager
def explained_out_of_memory(  # noqa: PLR0913 - what ran, and on which map
    model: str,
    placement: Placement,
    devices: DeviceSet,
    *,
    tokens: int,
    batch: int = 1,
    dtype: str = "bfloat16",
) -> Iterator[None]:
    """Turn CUDA's out-of-memory error inside the block into a WorkshopError that says what needed the memory.

    The block's tensors are let go, and the allocator's unused segments are given back.
    """
    import torch

    sentence = None
    try:
        yield
    except torch.OutOfMemoryError as error:
        peaks = device_peaks(
            find_architecture(model), placement, devices, tokens=tokens, batch=batch, dtype=dtype
        )
        sentence = out_of_memory_sentence(read_cuda_oom(str(error)), peaks, tokens, batch)
    # Outside of the handler: there, the traceback would still hold the frames, and they the tensors.
    if sentence is not None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise WorkshopError(sentence)


def out_of_memory_sentence(
    told: CudaOom | None, peaks: tuple[DevicePeak, ...], tokens: int, batch: int
) -> str:
    """Return what the GPU that torch names needs and has, and the next step."""
    gpus = [peak for peak in peaks if peak.estimate is not None]
    named = [peak for peak in gpus if told is not None and peak.device.key == told.gpu_index]
    peak = (named or sorted(gpus, key=lambda each: each.process_bytes - each.device.free_bytes))[-1]
    assert peak.estimate is not None
    weights, cache, beside = (
        format_gib(peak.estimate.bytes_of(*kinds))
        for kinds in (("weights",), ("kv_cache",), ("activations", "reserve", "process"))
    )
    others = told.other_bytes if told is not None else 0
    shared = f" Other programs hold {format_gib(others)} of it." if others else ""
    return (
        f"{peak.device.label} ran out of memory: the device map counted its {weights} of weights, but "
        f"{tokens:,} tokens × {batch} also need {cache} of KV cache and {beside} of activations, reserve and "
        f"CUDA context there, {format_gib(peak.process_bytes)} in all, and it has "
        f"{format_gib(peak.device.total_bytes)}.{shared} Take the map of fitting_map(…), a shorter text or a "
        "smaller batch."
    )
