"""The sum over tensor ranks of one token's hidden states: a few kilobytes, so that latency is all.

NCCL's ring passes them on rank by rank. Between GPUs that read one another's memory over NVLink, each rank
can read all parts at once and add them itself: one kernel, one exchange of signals. Source: torch's symmetric
memory, ``one_shot_all_reduce`` (torch/csrc/distributed/c10d/symm_mem); multicast is not used.
"""

from typing import Any

from workshop_utils.parallel.tensor import TensorGroup


class SmallSum:
    """Sums parts of one shape. ``part`` is where they must be written, or None where any tensor will do."""

    def __init__(
        self, tensor: TensorGroup, shape: tuple[int, ...], dtype: Any, device: str, one_shot: bool
    ) -> None:
        self._tensor = tensor
        self.part: Any = None
        if tensor.size > 1 and one_shot and device != "cpu":
            import torch.distributed._symmetric_memory as symmetric

            self.part = symmetric.empty(shape, dtype=dtype, device=device)
            symmetric.rendezvous(self.part, tensor.group)

    def __call__(self, part: Any) -> Any:
        """Return the sum of all ranks' ``part``, which is ``self.part`` unless that is None."""
        if self.part is None:
            return self._tensor.sum(part)
        import torch

        return torch.ops.symm_mem.one_shot_all_reduce(part, "sum", self._tensor.group.group_name)
