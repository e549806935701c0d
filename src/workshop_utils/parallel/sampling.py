"""Greedy choice of the next token, on the device: the host never waits for logits."""

from typing import Any

from workshop_utils.parallel.tensor import TensorGroup


def pick(part: Any, tensor: TensorGroup, vocabulary: int) -> Any:
    """Return each sequence's likeliest token from this rank's logits (batch, rows): int64 (batch).

    Ranks exchange two numbers a sequence, their best logit and its row, not the logits. Of equal logits the
    lowest token is chosen, as ``argmax`` over the whole vocabulary does.
    """
    import torch

    first = tensor.rank * part.shape[-1]
    rows = min(part.shape[-1], vocabulary - first)
    best, row = part[:, :rows].float().max(dim=-1)
    if tensor.size == 1:
        return row
    both = torch.stack((best.double(), (row + first).double()), dim=-1)
    logits, tokens = tensor.gather(both).view(len(part), tensor.size, 2).unbind(-1)
    highest = logits == logits.max(dim=-1, keepdim=True).values
    return torch.where(highest, tokens, float(vocabulary)).min(dim=-1).values.long()
