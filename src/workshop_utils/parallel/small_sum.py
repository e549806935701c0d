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

        from workshop_utils.parallel.kernels.pushed_sum import slices

        numbers = math.prod(shape)
        self._turns = torch.zeros(slices(numbers), dtype=torch.int32, device=device)
        self._inbox, inboxes = self._shared(2 * tensor.size * numbers, dtype, device)
        self._flags, flags = self._shared(slices(numbers) * tensor.size, torch.int32, device)
        self._addresses = (
            torch.tensor(inboxes, dtype=torch.int64, device=device),
            torch.tensor(flags, dtype=torch.int64, device=device),
        )
        # No rank may write before the flags of all are zero.
        torch.cuda.synchronize(device)
        torch.distributed.barrier(tensor.group)

    def _shared(self, numbers: int, dtype: Any, device: str) -> tuple[Any, list[int]]:
        """Return zeros that all ranks of the group can write, and where each rank's are."""
        import torch.distributed as dist
        import torch.distributed._symmetric_memory as symmetric

        own = symmetric.empty(numbers, dtype=dtype, device=device)
        own.zero_()
        shared = symmetric.rendezvous(own, self._tensor.group or dist.group.WORLD)
        addresses = [
            shared.get_buffer(rank, own.shape, dtype).data_ptr() for rank in range(self._tensor.size)
        ]
        return own, addresses

    def __call__(self, part: Any) -> Any:
        """Return the sum of all ranks' ``part``."""
        if not self._one_shot:
            return self._tensor.sum(part)
        from workshop_utils.parallel.kernels.pushed_sum import pushed_sum

        inboxes, flags = self._addresses
        return pushed_sum(part, inboxes, flags, self._turns, self._tensor.rank)


def peers_reach(device: str) -> bool:
    """Return whether all GPUs that this process sees can write one another's memory."""
    import torch

    if torch.device(device).type != "cuda":
        return False
    count = torch.cuda.device_count()
    pairs = [(one, other) for one in range(count) for other in range(count) if one != other]
    return all(torch.cuda.can_device_access_peer(*pair) for pair in pairs)
