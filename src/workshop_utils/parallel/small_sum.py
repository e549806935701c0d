"""The sum over tensor ranks of one token's hidden states: a few kilobytes, so that latency is all.

NCCL's ring passes them on rank by rank. GPUs that reach one another's memory, over NVLink say, can do it in
one exchange: see ``kernels/pushed_sum.py``. The memory they share is torch's symmetric memory, without
multicast.
"""

from typing import Any

from workshop_utils.parallel.tensor import TensorGroup


class SmallSum:
    """Sums parts of one shape over a tensor group; with ``one_shot`` in one exchange, where GPUs can."""

    def __init__(
        self, tensor: TensorGroup, shape: tuple[int, ...], dtype: Any, device: str, one_shot: bool
    ) -> None:
        self._tensor = tensor
        self._one_shot = tensor.size > 1 and one_shot and peers_reach(device)
        if not self._one_shot:
            return
        import math

        import torch

        from workshop_utils.parallel.kernels.pushed_sum import Inboxes, slices, words_for

        words = words_for(math.prod(shape), dtype)
        self._own, addresses = self._shared(2 * tensor.size * words, device)
        turns = torch.zeros(1 + slices(words), dtype=torch.int32, device=device)
        self._inboxes = Inboxes(torch.tensor(addresses, dtype=torch.int64, device=device), turns, tensor.rank)
        # No rank may write before the inboxes of all are zero.
        torch.cuda.synchronize(device)
        torch.distributed.barrier(tensor.group)

    def _shared(self, words: int, device: str) -> tuple[Any, list[int]]:
        """Return zeros that all ranks of the group can write, and where each rank's are."""
        import torch
        import torch.distributed as dist
        import torch.distributed._symmetric_memory as symmetric

        own = symmetric.empty(words, dtype=torch.int64, device=device)
        own.zero_()
        shared = symmetric.rendezvous(own, self._tensor.group or dist.group.WORLD)
        addresses = [
            shared.get_buffer(rank, own.shape, torch.int64).data_ptr() for rank in range(self._tensor.size)
        ]
        return own, addresses

    def __call__(self, part: Any) -> Any:
        """Return the sum of all ranks' ``part``."""
        if not self._one_shot:
            return self._tensor.sum(part)
        from workshop_utils.parallel.kernels.pushed_sum import pushed_sum

        return pushed_sum(part, self._inboxes)

    def product(self, x: Any, weight: Any, residual: Any = None) -> Any:
        """Return the sum of all ranks' ``x @ weightᵀ + residual`` for the few vectors of a ``matvec``.

        The product's own kernel sends each part as soon as it is made, while others are still being read.
        """
        from workshop_utils.parallel.kernels.matvec import matvec, push_matvec

        if not self._one_shot:
            return self._tensor.sum(matvec(x, weight, residual=residual))
        from workshop_utils.parallel.kernels.pushed_sum import taken_sum

        push_matvec(x, weight, self._inboxes, residual)
        return taken_sum(x.new_empty(x.shape[0], weight.shape[0]), self._inboxes)


def peers_reach(device: str) -> bool:
    """Return whether all GPUs that this process sees can write one another's memory."""
    import torch

    if torch.device(device).type != "cuda":
        return False
    count = torch.cuda.device_count()
    pairs = [(one, other) for one in range(count) for other in range(count) if one != other]
    return all(torch.cuda.can_device_access_peer(*pair) for pair in pairs)
