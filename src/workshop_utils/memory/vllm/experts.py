"""Expert parallelism in vLLM: whole experts on each rank, where tensor parallelism cuts every one of them.

Read in vLLM 0.26. ``FusedMoEParallelConfig.make`` (vllm/model_executor/layers/fused_moe/config.py): the ranks
are all tensor × data parallel ones of a pipeline stage, and an expert is not cut any more.
``determine_expert_map`` (expert_map_manager.py beside it): as many experts each in a row, and one more on the
first ranks where a rest remains. Redundant experts are there only with the load balancer, which is off.
"""

from dataclasses import dataclass
from functools import lru_cache

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.layout_check import dividing_sizes
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture, Experts

# The block of a checkpoint in fp8: ``Fp8MoEMethod.create_weights`` (quantization/fp8.py) refuses to cut one.
FP8_BLOCK = 128
# Groups of GPTQ and AWQ are halved until they divide, not below this: ``create_weights`` of
# quantization/moe_wna16.py, which takes the layers that Marlin's kernels do not.
LEAST_GROUP = 32


@dataclass(frozen=True, slots=True)
class Spread:
    """Whole experts over ``ranks`` ranks, of which this is number ``rank``, in ``engines`` engines.

    An engine is one data parallel rank: attention over its own sequences, on its tensor ranks.
    """

    ranks: int
    rank: int
    engines: int

    def held(self, experts: Experts) -> int:
        """Return how many routed experts of a layer stand on this rank."""
        each, more = divmod(experts.routed, self.ranks)
        return each + (self.rank < more)


def spread_of(architecture: Architecture, tensor_parallel: int, engines: int, rank: int) -> Spread:
    """Return the spread of a rank: of all that hold as many experts, the first one's, so that they are equal.

    ``rank`` counts through the tensor ranks of the first engine, then those of the next.
    """
    ranks = tensor_parallel * engines
    # The ranks with one expert more end where the rest of the division does.
    ends = {experts.routed % ranks for experts in kinds(architecture)}
    return Spread(ranks, max((end for end in ends if end <= rank), default=0), engines)


@lru_cache(maxsize=256)
def kinds(architecture: Architecture) -> frozenset[Experts]:
    """Return the kinds of experts that the layers have."""
    return frozenset(layer.experts for layer in architecture.layers if layer.experts)


def most_ranks(architecture: Architecture) -> int:
    """Return over how many ranks the experts can be spread, one on each; 0 for a dense model."""
    return min((experts.routed for experts in kinds(architecture)), default=0)


def check_experts(architecture: Architecture, workload: Workload) -> None:
    """Raise WorkshopError where vLLM can neither spread the experts so, nor cut them so."""
    if not workload.expert_parallel:
        if reason := cut_obstacle(architecture, workload.dtype, workload.tensor_parallel):
            sizes = dividing_sizes(architecture)
            good = [str(size) for size in sizes if not cut_obstacle(architecture, workload.dtype, size)]
            raise WorkshopError(
                f"tensor parallel size {workload.tensor_parallel} {reason}; choose {', '.join(good)}, or "
                "spread whole experts (--ep)."
            )
        return
    most, ranks = most_ranks(architecture), workload.expert_ranks
    if not most:
        raise WorkshopError(
            f"{architecture.name} has no experts to spread; leave --ep out: tensor parallel size "
            f"{workload.tensor_parallel} cuts every layer."
        )
    if ranks == 1:
        raise WorkshopError(
            "one rank holds all experts anyway; give --ep a tensor or data parallel size from 2 on."
        )
    if ranks > most:
        raise WorkshopError(
            f"{ranks} ranks (tensor {workload.tensor_parallel} × data {workload.data_parallel}) are more "
            f"than the {most} experts of {architecture.name}; give at most {most} together."
        )


def cut_obstacle(architecture: Architecture, dtype: str, ranks: int) -> str | None:
    """Return what a tensor parallel size does to groups that are stored together, None where it keeps them.

    Only a checkpoint has blocks of fp8: what vLLM makes itself has a scale for each matrix.
    """
    blocks = dtype == "fp8" and architecture.stored_as == "fp8"
    group = FP8_BLOCK if blocks else LEAST_GROUP if dtype.startswith(("awq", "gptq")) else 1
    for experts in kinds(architecture):
        width = experts.width // ranks
        if ranks > 1 and width % group:
            return (
                f"leaves {width:,} of the {experts.width:,} columns of each expert of {architecture.name}, "
                f"no multiple of the {group} that {dtype} keeps together"
            )
    return None
