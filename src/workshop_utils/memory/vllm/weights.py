"""Bytes of the weights that vLLM logs as "Model loading took … GiB"."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from workshop_utils.memory.vllm.stages import Stage
from workshop_utils.memory.vllm.tensors import Tensor, layer_tensors, rotary_tables, stage_tensors
from workshop_utils.units import MIB

# Compressed fp8 weights have one scale in float32 for each row of a matrix.
SCALE_BYTES = 4
# The least that torch's allocator lets max_split_size_mb be; also what an unsplit block may leave unused.
UNSPLIT = 20 * MIB


@dataclass(frozen=True, slots=True)
class Storage:
    """In how many bits a part's matrices are stored, and everything else (``rest_bits``)."""

    matrix_bits: Callable[[str], float]
    rest_bits: int
    row_scales: bool = False


@lru_cache(maxsize=1024)
def bytes_by_part(stage: Stage, storage: Storage, unsplit: bool = False) -> Mapping[str, int]:
    """Return the bytes of each part on one tensor rank of the stage, as torch's allocator counts them.

    ``unsplit``: vLLM keeps the allocator from splitting blocks of 20 MiB and more while it loads
    (``load_model``, vllm/v1/worker/gpu_worker.py), so that a tensor counts with the whole block it stands in.
    """
    totals: Counter[str] = Counter()
    for tensor in rank_tensors(stage):
        totals[tensor.part] += tensor.copies * stored_bytes(tensor, storage, unsplit)
    if unsplit and storage.rest_bits == 16:
        totals["block ends"] = block_ends(stage, storage)
    return MappingProxyType({part: size for part, size in totals.items() if size})


def block_ends(stage: Stage, storage: Storage) -> int:
    """Return what weights leave unused of the blocks in which the rotary tables were made.

    A table is made in float32: angles, cosines and sines, then both side by side; its copy of 16 bits takes
    one of the first three blocks (``_compute_cos_sin_cache``, vllm/model_executor/layers/rotary_embedding).
    The other three are free when the weights that follow are made, layer by layer. A tensor of 20 MiB or more
    takes the smallest one that holds it, if less than 20 MiB remain (``get_free_block``,
    c10/cuda/CUDACachingAllocator.cpp).
    """
    free: list[int] = []
    for table in rotary_tables(stage):
        half = allocated_bytes(table.values * 2, unsplit=True)
        free += [half, half, allocated_bytes(table.values * 4, unsplit=True)]
    free = sorted(block for block in free if block >= UNSPLIT)
    unused = 0
    for number, layer in enumerate(stage.layers):
        for tensor in layer_tensors(layer, stage):
            # The first layer makes its table after the matrices of its mixer.
            before = number == 0 and tensor.part == "attention"
            size = stored_bytes(tensor, storage, unsplit=True)
            fits = [block for block in free if size <= block < size + UNSPLIT]
            if not before and size >= UNSPLIT and fits:
                free.remove(fits[0])
                unused += fits[0] - size
        if not free:
            break
    return unused


def rank_tensors(stage: Stage) -> Iterator[Tensor]:
    """Yield all tensors of one rank, equal layers together."""
    yield from stage_tensors(stage)
    for layer, copies in Counter(stage.layers).items():
        for tensor in layer_tensors(layer, stage):
            yield Tensor(tensor.part, tensor.rows, tensor.columns, tensor.matrix, copies)


def stored_bytes(tensor: Tensor, storage: Storage, unsplit: bool = False) -> int:
    """Return the bytes of one tensor, scales included."""
    bits = storage.matrix_bits(tensor.part) if tensor.matrix else storage.rest_bits
    scales = SCALE_BYTES * tensor.rows if tensor.matrix and storage.row_scales else 0
    return allocated_bytes(round(tensor.values * bits / 8), unsplit) + scales


def allocated_bytes(size: int, unsplit: bool = False) -> int:
    """Return what torch's allocator counts for a tensor of ``size`` bytes; ``unsplit`` as in bytes_by_part.

    From 10 MiB on it asks the driver for multiples of 2 MiB and hands out the whole of it where no more than
    1 MiB would remain (c10/cuda/CUDACachingAllocator.cpp, ``should_split``). On a 7B model that is 0.4 %.
    """
    if size < 10 * MIB:
        return -(-size // 512) * 512
    whole = -(-size // (2 * MIB)) * 2 * MIB
    return whole if whole - size <= MIB or (unsplit and size >= UNSPLIT) else size
