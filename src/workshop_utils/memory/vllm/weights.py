"""Bytes of the weights that vLLM logs as "Model loading took … GiB"."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workshop_utils.memory.vllm.stages import Stage
from workshop_utils.memory.vllm.tensors import Tensor, layer_tensors, stage_tensors
from workshop_utils.units import MIB

# Compressed fp8 weights have one scale in float32 for each row of a matrix.
SCALE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Storage:
    """In how many bits a part's matrices are stored, and everything else (``rest_bits``)."""

    matrix_bits: Callable[[str], float]
    rest_bits: int
    row_scales: bool = False


def bytes_by_part(stage: Stage, storage: Storage) -> dict[str, int]:
    """Return the bytes of each part on one tensor rank of the stage, as torch's allocator counts them."""
    totals: Counter[str] = Counter()
    for tensor in rank_tensors(stage):
        totals[tensor.part] += tensor.copies * stored_bytes(tensor, storage)
    return {part: size for part, size in totals.items() if size}


def rank_tensors(stage: Stage) -> Iterator[Tensor]:
    """Yield all tensors of one rank, equal layers together."""
    yield from stage_tensors(stage)
    for layer, copies in Counter(stage.layers).items():
        for tensor in layer_tensors(layer, stage.architecture.hidden_size, stage.ranks):
            yield Tensor(tensor.part, tensor.rows, tensor.columns, tensor.matrix, copies)


def stored_bytes(tensor: Tensor, storage: Storage) -> int:
    """Return the bytes of one tensor, scales included."""
    bits = storage.matrix_bits(tensor.part) if tensor.matrix else storage.rest_bits
    scales = SCALE_BYTES * tensor.rows if tensor.matrix and storage.row_scales else 0
    return allocated_bytes(round(tensor.values * bits / 8)) + scales


def allocated_bytes(size: int) -> int:
    """Return what torch's allocator counts for a tensor of ``size`` bytes.

    From 10 MiB on it asks the driver for multiples of 2 MiB and hands out the whole of it where no more than
    1 MiB would remain (c10/cuda/CUDACachingAllocator.cpp, ``should_split``). On a 7B model that is 0.4 %.
    """
    if size < 10 * MIB:
        return -(-size // 512) * 512
    whole = -(-size // (2 * MIB)) * 2 * MIB
    return whole if whole - size <= MIB else size
