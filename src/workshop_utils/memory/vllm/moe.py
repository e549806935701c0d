"""Buffers of the fused mixture-of-experts kernels, which vLLM makes in the profiling run and keeps.

Source: ``TritonExperts.workspace_shapes`` in vllm/model_executor/layers/fused_moe (0.19: fused_moe.py, 0.26:
experts/triton_moe.py), and ``WorkspaceManager`` in vllm/v1/worker/workspace.py: one allocation for both.
Triton's kernels are what Hopper GPUs take for bfloat16 experts, others for some quantised ones.

Where data parallel engines share the experts, every rank first gathers the tokens of all of them
(``AgRsAll2AllManager.dispatch``, vllm/distributed/device_communicators/all2all.py, 0.26's default), of which
it computes those that its experts were chosen for; the buffers have room for all.
"""

from workshop_utils.models.architecture import Experts


def workspace_bytes(experts: Experts, hidden: int, tokens: int, ranks: int, value_bytes: int) -> int:
    """Return the two buffers of tokens × active experts × width; all tokens at once, without chunks.

    ``ranks`` that each expert's width is cut over; ``tokens`` of all engines that share the experts.
    """
    width = experts.width // ranks
    first = max(width, hidden)
    second = max(2 * width, hidden)
    return tokens * experts.active * (first + second) * value_bytes
