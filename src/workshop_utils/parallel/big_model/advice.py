"""Which way to run a model on some devices, and why: one sentence with the expected cost.

Memory is the memory engine's, times are those of ``speed.py``; both say how sure they are.
"""

from dataclasses import dataclass

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.memory.layout_check import first_obstacle
from workshop_utils.memory.sharding import whole_model
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.devices import DISK, HOST, DeviceSet
from workshop_utils.parallel.big_model.fitting import Fit, fitting_map
from workshop_utils.parallel.big_model.module_sizes import module_sizes
from workshop_utils.parallel.big_model.speed import ExpectedTpot, expected_tpot, speeds
from workshop_utils.units import GB, format_gb

CHOICES = (
    "cpu", "one_gpu", "data_parallel", "tensor_parallel", "layer_split", "quantise", "offload", "does_not_fit"
)  # fmt: skip
FOUR_BITS = "nf4"


@dataclass(frozen=True)
class Advice:
    """``choice``: one of ``CHOICES``; ``fit`` and ``expected``: of Accelerate's map, where one holds."""

    choice: str
    sentence: str
    fit: Fit | None = None
    expected: ExpectedTpot | None = None


def advise(model: str, devices: DeviceSet, *, tokens: int, batch: int = 1, dtype: str = "bfloat16") -> Advice:
    """Return how to run ``batch`` sequences of ``tokens`` tokens on these devices."""
    architecture = find_architecture(model)
    replicas = len(devices.gpus)
    if replicas > 1 and batch > 1:
        share = -(-batch // replicas)
        alone = replica_fit(model, devices, tokens, share, dtype)
        if alone is not None:
            return data_advice(model, devices, alone, (tokens, share, dtype))
    try:
        fit = fitting_map(model, devices, tokens=tokens, batch=batch, dtype=dtype)
    except WorkshopError as refusal:
        small = quantised_gpus(architecture, devices, tokens, batch)
        if small:
            return Advice("quantise", f"Quantise to 4 bits: {words_of_four_bits(architecture, small)}.")
        return Advice("does_not_fit", str(refusal))
    expected = expected_tpot(model, fit.placement, fit.devices, tokens=tokens, batch=batch, dtype=dtype)
    if fit.offloads:
        return offload_advice(architecture, devices, fit, expected, (tokens, batch))
    if fit.gpus > 1:
        return split_advice(model, architecture, fit, expected, (tokens, batch, dtype))
    return alone_advice(devices, fit, expected)


def replica_fit(model: str, devices: DeviceSet, tokens: int, share: int, dtype: str) -> Fit | None:
    """Return the map of a replica on the smallest GPU alone, where it holds one; then all others do too."""
    smallest = min(devices.gpus, key=lambda gpu: gpu.free_bytes)
    try:
        fit = fitting_map(model, devices.only([smallest]), tokens=tokens, batch=share, dtype=dtype)
    except WorkshopError:
        return None
    return None if fit.offloads else fit


def data_advice(model: str, devices: DeviceSet, fit: Fit, work: tuple[int, int, str]) -> Advice:
    """Return the advice for several prompts and a model that every GPU holds."""
    tokens, share, dtype = work
    expected = expected_tpot(model, fit.placement, fit.devices, tokens=tokens, batch=share, dtype=dtype)
    sentence = (
        f"Data parallel: each of the {len(devices.gpus)} GPUs holds the model with the cache of its {share} "
        f"prompts, {time_words(expected)}; splitting the model would only add what they say to one another."
    )
    return Advice("data_parallel", sentence, fit, expected)


def alone_advice(devices: DeviceSet, fit: Fit, expected: ExpectedTpot) -> Advice:
    """Return the advice for a model that one device holds."""
    if not devices.gpus:
        sentence = f"There is no GPU: the CPU holds it, {time_words(expected)}; more memory buys no speed."
        return Advice("cpu", sentence, fit, expected)
    spare = len(devices.gpus) - 1
    more = f"the other {spare} would wait for it" if spare else "ask for no more"
    name = fit.devices.gpus[0].label
    sentence = f"One GPU: {name} holds it with its cache, {time_words(expected)}; {more}."
    return Advice("one_gpu", sentence, fit, expected)


def split_advice(
    model: str,
    architecture: Architecture,
    fit: Fit,
    expected: ExpectedTpot,
    work: tuple[int, int, str],
) -> Advice:
    """Return the advice for a model that needs several GPUs: tensor parallel where heads can be shared."""
    by_map = f"device_map over {fit.gpus} GPUs, {time_words(expected)}, needs no change of the code"
    known = all(gpu.gpu for gpu in fit.devices.gpus)
    if not known or first_obstacle(architecture, fit.gpus) is not None:
        return Advice("layer_split", f"Layer split: {by_map}; one GPU works at a time.", fit, expected)
    together = tensor_ms(model, architecture, fit, work)
    sentence = (
        f"Tensor parallel over {fit.gpus} GPUs (vLLM, or `workshop bench run --strategy tensor`): about "
        f"{milliseconds(together)} a token, because all GPUs read at the same time; for a few prompts "
        f"Accelerate's {by_map}."
    )
    return Advice("tensor_parallel", sentence, fit, expected)


def tensor_ms(model: str, architecture: Architecture, fit: Fit, work: tuple[int, int, str]) -> float:
    """Return the expected ms of a decode step of which all GPUs read a share, as the slowest does."""
    tokens, batch, dtype = work
    sizes = module_sizes(model, dtype)
    size = sum(sizes.layers) + sizes.head + kv_cache_bytes(whole_model(architecture), tokens, batch, dtype)
    slowest = min(gpu.gpu.bandwidth_gb_per_s for gpu in fit.devices.gpus if gpu.gpu)
    return float(1000 * size / fit.gpus / (slowest * GB * speeds()["tensor_share"]["value"]))


def offload_advice(
    architecture: Architecture, devices: DeviceSet, fit: Fit, expected: ExpectedTpot, work: tuple[int, int]
) -> Advice:
    """Return the advice for a model of which a part must lie elsewhere: quantise before you offload."""
    away = format_gb(fit.placement.offloaded_bytes)
    where = "in host memory"
    if fit.placement.bytes_by_device[DISK]:
        # Where the CPU computes, what lies in its memory is not offloaded.
        where = "on the disk" if fit.placement.main == HOST else "in host memory and on the disk"
    offloading = f"{away} would lie {where} and be copied for every token, {time_words(expected)}"
    small = quantised_gpus(architecture, devices, *work)
    if small:
        four_bits = words_of_four_bits(architecture, small)
        sentence = f"Quantise to 4 bits: {four_bits}; in full precision {offloading}."
        return Advice("quantise", sentence, fit, expected)
    return Advice(
        "offload", f"Offload, for a few answers only: {offloading}; or take more GPUs.", fit, expected
    )


def quantised_gpus(architecture: Architecture, devices: DeviceSet, tokens: int, batch: int) -> int:
    """Return how many of the GPUs hold the model in 4 bits, split by layers; 0 where they do not."""
    types = [gpu.gpu for gpu in devices.gpus if gpu.gpu]
    if len(types) != len(devices.gpus) or not types:
        return 0
    smallest = min(types, key=lambda gpu: gpu.usable_bytes)
    free = min(gpu.free_bytes for gpu in devices.gpus)
    for count in range(1, min(len(types), len(architecture.layers)) + 1):
        found = estimate(
            architecture, tokens=tokens, batch=batch, dtype=FOUR_BITS, pipeline_parallel=count, gpu=smallest
        )
        if all(rank.fits(free) for rank in found.per_gpu):
            return count
    return 0


def words_of_four_bits(architecture: Architecture, gpus: int) -> str:
    """Return what 4 bits change."""
    size = estimate(architecture, tokens=1, dtype=FOUR_BITS).weights_bytes
    many = "one GPU" if gpus == 1 else f"{gpus} GPUs"
    return f"in {FOUR_BITS} the weights are {format_gb(size)} and {many} of these hold it with its cache"


def time_words(expected: ExpectedTpot) -> str:
    """Return the expected time of a token, and whether it is measured or assumed."""
    largest = max(expected.parts, key=lambda part: part.ms)
    return f"about {milliseconds(expected.ms)} a token ({expected.certainty}; most of it {largest.name})"


def milliseconds(value: float) -> str:
    """Return a time with two digits, in ms or s."""
    number, unit = (value / 1000, "s") if value >= 1000 else (value, "ms")
    return f"{float(f'{number:.2g}'):,g} {unit}"
