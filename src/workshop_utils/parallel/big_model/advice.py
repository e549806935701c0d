"""Which way to run a model on some devices, and why: a sentence or two with the expected cost.

Memory is the memory engine's, times are those of ``speed.py``; both say how sure they are.
"""

from dataclasses import dataclass

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.layout_check import first_obstacle
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.devices import DISK, HOST, DeviceSet, PlacementDevice
from workshop_utils.parallel.big_model.fitting import Fit, fitting_map, roomiest_counts
from workshop_utils.parallel.big_model.other_ways import (
    FOUR_BITS,
    LAUNCHING,
    FourBits,
    in_four_bits,
    roomiest,
    tensor_ms,
    tensor_set,
)
from workshop_utils.parallel.big_model.peaks import workload_of
from workshop_utils.parallel.big_model.speed import ExpectedTpot, expected_tpot
from workshop_utils.units import format_gb

CHOICES = (
    "cpu", "one_gpu", "data_parallel", "tensor_parallel", "layer_split", "half_precision", "quantise",
    "offload", "does_not_fit",
)  # fmt: skip
HALF, FULL = "bfloat16", "float32"
# The shortest tensor parallel step of a recorded run is 2.5 ms; shorter ones wait for sums, not for bytes.
SHORTEST_TENSOR_MS = 2.0


@dataclass(frozen=True)
class Advice:
    """``choice``: one of ``CHOICES``; ``expected``: the time of Accelerate's map ``fit``, or of 4 bits."""

    choice: str
    sentence: str
    fit: Fit | None = None
    expected: ExpectedTpot | None = None


def advise(model: str, devices: DeviceSet, *, tokens: int, batch: int = 1, dtype: str = "bfloat16") -> Advice:
    """Return how to run ``batch`` sequences of ``tokens`` tokens on these devices."""
    architecture = find_architecture(model)
    work = (tokens, batch, dtype)
    shared = data_advice(model, architecture, devices, work)
    if shared is not None:
        return shared
    try:
        fit = fitting_map(model, devices, tokens=tokens, batch=batch, dtype=dtype)
    except WorkshopError as refusal:
        return smaller_advice(model, devices, work) or Advice("does_not_fit", str(refusal))
    expected = expected_tpot(model, fit.placement, fit.devices, tokens=tokens, batch=batch, dtype=dtype)
    if fit.offloads:
        offloading = offload_words(fit, expected)
        more = "more GPUs" if devices.gpus else "a GPU"
        sentence = f"Offload, for a few answers only: {offloading}; or take {more}."
        return smaller_advice(model, devices, work, f"; in {dtype} {offloading}") or Advice(
            "offload", sentence, fit, expected
        )
    if fit.gpus > 1:
        return split_advice(model, architecture, devices, (fit, expected), work)
    return alone_advice(model, architecture, devices, (fit, expected), work)


def data_advice(
    model: str, architecture: Architecture, devices: DeviceSet, work: tuple[int, int, str]
) -> Advice | None:
    """Return the advice for several prompts and a model that several GPUs hold; None for all others.

    As many GPUs as have a prompt, the roomiest first. What the last of them holds, those before it do too.
    """
    tokens, batch, dtype = work
    by_room = roomiest(devices)
    for count in range(min(len(by_room), batch), 1, -1):
        share = -(-batch // count)
        fit = replica_fit(model, architecture, devices.only([by_room[count - 1]]), (tokens, share, dtype))
        if fit is None:
            continue
        expected = expected_tpot(model, fit.placement, fit.devices, tokens=tokens, batch=share, dtype=dtype)
        names = replica_words(devices, by_room[:count])
        prompts = f"{'up to' if batch % count else 'its'} {share} prompt{'' if share == 1 else 's'}"
        sentence = (
            f"Data parallel: each of {names} holds the model with the cache of {prompts}, "
            f"{time_words(expected)}; splitting the model would only add what they say to one another."
        )
        return Advice("data_parallel", sentence, fit, expected)
    return None


def replica_fit(
    model: str, architecture: Architecture, alone: DeviceSet, work: tuple[int, int, str]
) -> Fit | None:
    """Return the map of a replica on one GPU, None where it does not hold one."""
    tokens, share, dtype = work
    # Asked first, because a map that offloads takes long to find and is no replica.
    if not roomiest_counts(architecture, workload_of(tokens, share, dtype), alone.gpus):
        return None
    try:
        fit = fitting_map(model, alone, tokens=tokens, batch=share, dtype=dtype)
    except WorkshopError:
        return None
    return None if fit.offloads else fit


def replica_words(devices: DeviceSet, chosen: list[PlacementDevice]) -> str:
    """Return which GPUs hold a replica."""
    if len(chosen) == len(devices.gpus):
        return f"the {len(chosen)} GPUs"
    numbers = ", ".join(str(gpu.key) for gpu in devices.only(chosen).gpus)
    return f"{len(chosen)} of the {len(devices.gpus)} GPUs (numbers {numbers})"


def alone_advice(
    model: str,
    architecture: Architecture,
    devices: DeviceSet,
    found: tuple[Fit, ExpectedTpot],
    work: tuple[int, int, str],
) -> Advice:
    """Return the advice for a model that one device holds."""
    fit, expected = found
    if not devices.gpus:
        sentence = f"There is no GPU: the CPU holds it, {time_words(expected)}; more memory buys no speed."
        return Advice("cpu", sentence, fit, expected)
    spare = len(devices.gpus) - 1
    more = "ask for no more"
    if spare:
        others = "the other GPU" if spare == 1 else f"the other {spare} GPUs"
        more = f"a device_map over {others} too would only be slower"
        together = tensor_set(architecture, devices, 2, work)
        step = tensor_ms(model, architecture, together, work) if together else 0.0
        if together and SHORTEST_TENSOR_MS <= step < expected.ms:
            ranks = f"{len(together.gpus)} (this workshop's runner, vLLM)"
            more += f", while tensor parallel over {ranks} takes about {milliseconds(step)} a token"
    name = fit.devices.gpus[0].label
    sentence = f"One GPU: {name} holds it with its cache, {time_words(expected)}; {more}."
    return Advice("one_gpu", sentence, fit, expected)


def split_advice(
    model: str,
    architecture: Architecture,
    devices: DeviceSet,
    found: tuple[Fit, ExpectedTpot],
    work: tuple[int, int, str],
) -> Advice:
    """Return the advice for a model that needs several GPUs: tensor parallel where heads can be shared."""
    fit, expected = found
    by_map = f"device_map over {fit.gpus} GPUs, {time_words(expected)}, needs no change of the code"
    together = tensor_set(architecture, devices, fit.gpus, work)
    if together is None:
        return Advice("layer_split", f"Layer split: {by_map}; one GPU works at a time.", fit, expected)
    obstacle = first_obstacle(architecture, fit.gpus)
    why = f", as {fit.gpus} do not fit {obstacle}" if obstacle else ""
    step = milliseconds(tensor_ms(model, architecture, together, work))
    sentence = (
        f"Tensor parallel over {len(together.gpus)} GPUs{why} (vLLM, or `workshop bench run --strategy "
        f"tensor`): about {step} a token, because all GPUs read at the same time; for a few prompts "
        f"Accelerate's {by_map}."
    )
    return Advice("tensor_parallel", sentence, fit, expected)


def smaller_advice(
    model: str, devices: DeviceSet, work: tuple[int, int, str], otherwise: str = ""
) -> Advice | None:
    """Return the advice for weights of fewer bits that GPUs hold, bfloat16 before 4 bits; None where none do.

    ``otherwise``: what the precision that was asked for would take.
    """
    tokens, batch, dtype = work
    if dtype == FULL:
        half = advise(model, devices, tokens=tokens, batch=batch, dtype=HALF)
        if half.choice not in {"quantise", "offload", "does_not_fit"}:
            sentence = f"Load the weights in {HALF}, as {FULL} does not fit. {half.sentence}"
            return Advice("half_precision", sentence, half.fit, half.expected)
    small = in_four_bits(model, devices, tokens, batch)
    if small is None:
        return None
    sentence = f"Quantise to 4 bits: {words_of_four_bits(small)}{otherwise}."
    return Advice("quantise", sentence, expected=small.expected)


def offload_words(fit: Fit, expected: ExpectedTpot) -> str:
    """Return what lies elsewhere, and what that takes."""
    away = format_gb(fit.placement.offloaded_bytes)
    where = "in host memory"
    if fit.placement.bytes_by_device[DISK]:
        # Where the CPU computes, what lies in its memory is not offloaded.
        where = "on the disk" if fit.placement.main == HOST else "in host memory and on the disk"
    return f"{away} would lie {where} and be copied for every token, {time_words(expected)}"


def words_of_four_bits(small: FourBits) -> str:
    """Return what 4 bits change."""
    many = "one GPU holds" if small.gpus == 1 else f"{small.gpus} GPUs hold"
    return (
        f"in {FOUR_BITS} the weights are {format_gb(small.weights_bytes)} and {many} them with the cache, "
        f"{time_words(small.expected, 'at least')}"
    )


def time_words(expected: ExpectedTpot, how: str = "about") -> str:
    """Return the expected time of a token, in which program, and whether it is measured or assumed."""
    largest = max(expected.parts, key=lambda part: part.ms)
    # Launching is what an engine with CUDA graphs saves; bytes take every program as long.
    program = " in transformers' eager generate()" if largest.name == LAUNCHING else ""
    sure = f"({expected.words}; most of it {largest.name})"
    return f"{how} {milliseconds(expected.ms)} a token{program} {sure}"


def milliseconds(value: float) -> str:
    """Return a time with two digits, in ms or s."""
    number, unit = (value / 1000, "s") if value >= 1000 else (value, "ms")
    return f"{float(f'{number:.2g}'):,g} {unit}"
