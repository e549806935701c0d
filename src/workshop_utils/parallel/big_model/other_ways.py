"""Ways to run a model that no map of Accelerate describes: tensor parallel, and weights in 4 bits.

Each has the GPUs that hold the model this way, and the time of a token there.
"""

from dataclasses import dataclass

from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.memory.layout_check import first_obstacle
from workshop_utils.memory.sharding import whole_model
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.devices import DeviceSet, PlacementDevice
from workshop_utils.parallel.big_model.module_sizes import module_sizes
from workshop_utils.parallel.big_model.speed import ExpectedTpot, constant, part, speeds, timed
from workshop_utils.units import GB

FOUR_BITS = "nf4"
# bitsandbytes keeps embedding and output head as they are.
KEPT = "bfloat16"
# As ``speed.py`` names these parts.
LAUNCHING, READING = "launching the layers' kernels", "reading weights and cache on the GPUs"


def roomiest(devices: DeviceSet) -> list[PlacementDevice]:
    """Return the GPUs, that with most free memory first."""
    return sorted(devices.gpus, key=lambda gpu: (-gpu.free_bytes, gpu.key))


def tensor_set(
    architecture: Architecture, devices: DeviceSet, fewest: int, work: tuple[int, int, str]
) -> DeviceSet | None:
    """Return the fewest GPUs from ``fewest`` on that can each hold an equal share; None where none can."""
    tokens, batch, dtype = work
    by_room = roomiest(devices)
    for count in range(fewest, len(by_room) + 1):
        last = by_room[count - 1]
        if not all(gpu.gpu for gpu in by_room[:count]) or first_obstacle(architecture, count):
            continue
        found = estimate(
            architecture, tokens=tokens, batch=batch, dtype=dtype, tensor_parallel=count, gpu=last.gpu
        )
        if all(rank.fits(last.free_bytes) for rank in dict.fromkeys(found.per_gpu)):
            return devices.only(by_room[:count])
    return None


def tensor_ms(
    model: str, architecture: Architecture, devices: DeviceSet, work: tuple[int, int, str]
) -> float:
    """Return the expected ms of a decode step of which all GPUs read a share, as the slowest does."""
    tokens, batch, dtype = work
    sizes = module_sizes(model, dtype)
    size = sum(sizes.layers) + sizes.head + kv_cache_bytes(whole_model(architecture), tokens, batch, dtype)
    slowest = min(gpu.gpu.bandwidth_gb_per_s for gpu in devices.gpus if gpu.gpu)
    return float(1000 * size / len(devices.gpus) / (slowest * GB * speeds()["tensor_share"]["value"]))


@dataclass(frozen=True)
class FourBits:
    """``gpus``: how many hold the model, split by layers; ``expected``: the least that a token takes."""

    gpus: int
    weights_bytes: int
    expected: ExpectedTpot


def in_four_bits(model: str, devices: DeviceSet, tokens: int, batch: int) -> FourBits | None:
    """Return the fewest GPUs that hold ``batch`` sequences of ``tokens`` tokens; None where all do not."""
    architecture = find_architecture(model)
    types = [gpu.gpu for gpu in devices.gpus if gpu.gpu]
    if len(types) != len(devices.gpus) or not types:
        return None
    smallest = min(types, key=lambda gpu: gpu.usable_bytes)
    free = min(gpu.free_bytes for gpu in devices.gpus)
    for count in range(1, min(len(types), len(architecture.layers)) + 1):
        found = estimate(
            architecture, tokens=tokens, batch=batch, dtype=FOUR_BITS, pipeline_parallel=count, gpu=smallest
        )
        if all(rank.fits(free) for rank in found.per_gpu):
            expected = least_tpot(model, devices, count, (found.weights_bytes, found.kv_cache_bytes))
            return FourBits(count, found.weights_bytes, expected)
    return None


def least_tpot(model: str, devices: DeviceSet, count: int, held_bytes: tuple[int, int]) -> ExpectedTpot:
    """Return the time of a token on ``count`` GPUs that hold so many bytes of weights and of cache.

    It is the sum of ``speed.expected_tpot`` with fewer bytes to read. Turning 4 bits into 16 takes time as
    well, which was not measured here: so nothing is more than assumed, and the time is the least.
    """
    weights_bytes, cache_bytes = held_bytes
    sizes = module_sizes(model, KEPT)
    read_bytes = weights_bytes - sizes.before - sizes.after + sizes.head + cache_bytes
    slowest = min(gpu.gpu.bandwidth_gb_per_s for gpu in devices.gpus if gpu.gpu)
    launch, share, hook = (
        constant(name, devices) | {"certainty": "assumed"}
        for name in ("layer_ms", "gpu_read_share", "hook_ms")
    )
    ways = (
        part(LAUNCHING, launch["value"] * len(sizes.layers), launch),
        timed(READING, read_bytes, share | {"value": slowest * share["value"]}),
    )
    hooks = part("Accelerate's hooks", hook["value"] * len(sizes.layers), hook)
    longer = max(ways, key=lambda way: way.ms)
    return ExpectedTpot((longer, hooks) if count > 1 else (longer,))
