"""The exercises of notebook 02: how many GPUs, and how many of those that are free."""

from functools import cache

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.lessons.choose_gpus import recorded_queue
from workshop_utils.lessons.number_checks import NumberExercise, Slip
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.architecture import Attention
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.units import GB

SPLIT_MODEL, SPLIT_GPU, SPLIT_TOKENS = "llama-3.1-70b", "A40", 4096
QUEUE_TYPE, QUEUE_CORES, QUEUE_MEMORY_BYTES = "a100", 8, 64 * GB
BYTES = 2


def _fewest_that_fit() -> float:
    """Return the smallest tensor parallel size with which the run ends, by the memory engine."""
    shape, gpu = find_architecture(SPLIT_MODEL), find_gpu(SPLIT_GPU)
    for size in range(1, 65):
        try:
            found = estimate(shape, tokens=SPLIT_TOKENS, gpu=gpu, tensor_parallel=size)
        except WorkshopError:
            continue
        if found.fits(gpu):
            return size
    raise AssertionError("the exercise's model fits on some number of GPUs")


def _fewest_by_hand() -> float:
    """Divide the weights by the memory, then go up to a size that divides the heads."""
    shape = find_architecture(SPLIT_MODEL)
    attention = shape.layers[0].attention
    assert isinstance(attention, Attention)
    size = _by_weights()
    while attention.heads % size:
        size += 1
    return size


def _by_weights() -> int:
    weights = count_parameters(find_architecture(SPLIT_MODEL)).total * BYTES
    return -(-weights // find_gpu(SPLIT_GPU).usable_bytes)


HOW_MANY = NumberExercise(
    key="how_many_gpus",
    unit="GPUs",
    engine=_fewest_that_fit,
    solution=_fewest_by_hand,
    slips=(
        Slip(
            "does not divide the heads",
            _by_weights,
            "The weights would fit, but 64 attention heads do not divide by that: every tensor rank takes an "
            "equal share. Go up to the next number that divides them.",
        ),
        Slip(
            "a whole node",
            lambda: 8,
            "It would run, but with GPUs to spare: a smaller number also holds it, and starts sooner.",
        ),
    ),
    hint="Weights / usable memory, rounded up, then up to a number that divides the 64 attention heads.",
    explanation="What is left on each GPU is for KV cache, activations and the CUDA context.",
)


@cache
def _usable() -> float:
    return sum(node.usable(QUEUE_TYPE, QUEUE_CORES, QUEUE_MEMORY_BYTES) for node in recorded_queue().nodes)


def _usable_by_hand() -> float:
    total = 0
    for node in recorded_queue().nodes:
        if node.takes_jobs:
            free = node.gpus.get(QUEUE_TYPE, 0) - node.gpus_used.get(QUEUE_TYPE, 0)
            total += min(free, node.cores_free // QUEUE_CORES, node.memory_free_bytes // QUEUE_MEMORY_BYTES)
    return total


def _free() -> float:
    return sum(node.free(QUEUE_TYPE) for node in recorded_queue().nodes)


def _drained_too() -> float:
    drained = [node for node in recorded_queue().nodes if not node.takes_jobs]
    return _usable_by_hand() + sum(node.free(QUEUE_TYPE) for node in drained)


def _without_cores() -> float:
    return sum(node.free(QUEUE_TYPE) for node in recorded_queue().nodes if node.takes_jobs)


HOW_MANY_FREE = NumberExercise(
    key="how_many_free",
    unit="GPUs",
    engine=_usable,
    solution=_usable_by_hand,
    slips=(
        Slip(
            "free is not usable",
            _free,
            "This is what no job has. Some stand in a drained node, some in a node without cores left.",
        ),
        Slip(
            "counted a drained node",
            _drained_too,
            "This counts a drained node, which takes no jobs however free it is.",
        ),
        Slip(
            "forgot the cores",
            _without_cores,
            "One node has GPUs left but too few cores: with 8 cores for each GPU only some can be had.",
        ),
    ),
    hint="For each node that takes jobs: the smallest of free GPUs, free cores / 8 and free memory / 64 GB.",
    explanation="Ask for fewer cores for each GPU, and more of them can be had at once.",
)
