"""Several engines of vLLM in one log: whether they share whole experts, and what is not estimated."""

from workshop_utils.memory.logs.facts import Setup
from workshop_utils.memory.vllm.experts import most_ranks
from workshop_utils.models.architecture import Architecture


def engines_of(setup: Setup, tensor_parallel: int) -> dict[str, int | bool]:
    """Return how many engines share whole experts; without, the first replica answers for all."""
    engines = setup.data_parallel_size or 1
    if not setup.enable_expert_parallel or engines * tensor_parallel == 1:
        return {}
    return {"data_parallel": engines, "expert_parallel": True}


def cut_over_engines(setup: Setup, architecture: Architecture) -> str | None:
    """Return why there is no estimate where engines cut every expert together; None for any other run.

    ``flatten_tp_across_dp_and_pcp``, vllm/model_executor/layers/fused_moe/config.py of vLLM 0.26. Engines of
    a dense model know nothing of one another, and its configuration line has data_parallel_size=1.
    """
    engines = setup.data_parallel_size or 1
    if engines == 1 or setup.enable_expert_parallel or not most_ranks(architecture):
        return None
    return (
        f"without --enable-expert-parallel vLLM cuts every expert over the ranks of all {engines} data "
        "parallel engines, which is not estimated."
    )
