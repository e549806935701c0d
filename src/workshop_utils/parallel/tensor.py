"""Tensor parallelism: every rank holds a share of each large matrix and computes with it at the same time.

A product ``x @ Wᵀ`` can be cut in two ways. By *columns* of the result (rows of ``W``): every rank gets all
of ``x`` and makes some of the outputs, nothing is sent. By *rows* (columns of ``W``): every rank has some of
the inputs and makes a part of every output; the parts must be summed, one all-reduce. Attention and MLP are a
column cut followed by a row cut, so that each costs one all-reduce: heads, and channels of the MLP, never
leave their rank. Source: Shoeybi et al., Megatron-LM (arXiv:1909.08053), section 3.
"""

from dataclasses import dataclass
from typing import Any

from workshop_utils.errors import WorkshopError


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """The ranks that share every matrix; ``size`` 1 is one GPU, for which all of this does nothing.

    ``group`` is torch.distributed's process group, None for all ranks.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    def sum(self, part: Any) -> Any:
        """Return the sum of all ranks' ``part`` on every rank: one all-reduce, in place."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(part, group=self.group)
        return part

    def gather(self, part: Any) -> Any:
        """Return all ranks' ``part`` side by side, along the last dimension: one all-gather."""
        if self.size == 1:
            return part
        import torch
        import torch.distributed as dist

        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part.contiguous(), group=self.group)
        return torch.cat(parts, dim=-1)

    def share(self, count: int, what: str = "") -> slice:
        """Return this rank's share of ``count`` rows, columns or heads."""
        if count % self.size:
            raise WorkshopError(f"{count} {what} cannot be shared by {self.size} ranks.")
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def kv_heads(self, kv_heads: int) -> slice:
        """Return this rank's KV heads; with more ranks than heads, several ranks hold a copy of one."""
        if self.size <= kv_heads:
            return self.share(kv_heads, "KV heads")
        if self.size % kv_heads:
            raise WorkshopError(f"{kv_heads} KV heads cannot be copied evenly to {self.size} ranks.")
        head = self.rank // (self.size // kv_heads)
        return slice(head, head + 1)

    def vocabulary(self, rows: int) -> slice:
        """Return this rank's rows of embedding and head; the last rank may have fewer than the others."""
        each = -(-rows // self.size)
        return slice(min(rows, self.rank * each), min(rows, (self.rank + 1) * each))


ALONE = TensorGroup()


def column_product(x: Any, weight: Any, tensor: TensorGroup) -> Any:
    """Return this rank's part of ``x @ weightᵀ``: (…, inputs) × (outputs, inputs) → (…, outputs / size)."""
    return x @ weight[tensor.share(weight.shape[0], "outputs")].T


def row_product(x_part: Any, weight: Any, tensor: TensorGroup) -> Any:
    """Return all outputs from this rank's inputs: (…, inputs / size) × (outputs, inputs) → (…, outputs)."""
    return tensor.sum(x_part @ weight[:, tensor.share(weight.shape[1], "inputs")].T)


def split_mlp(x: Any, gate: Any, up: Any, down: Any, tensor: TensorGroup) -> Any:
    """Return a gated MLP's output, computed by all ranks together: two column cuts, one row cut, one sum."""
    import torch.nn.functional as F

    inside = F.silu(column_product(x, gate, tensor)) * column_product(x, up, tensor)
    return row_product(inside, down, tensor)


def embed(ids: Any, rows: Any, first_row: int, tensor: TensorGroup) -> Any:
    """Return the embeddings of ``ids``; each rank looks up its own rows, and zeros stand for the others'."""
    if tensor.size == 1:
        return rows[ids]
    here = ids - first_row
    mine = (here >= 0) & (here < rows.shape[0])
    found = rows[here.clamp(0, rows.shape[0] - 1)] * mine[..., None]
    return tensor.sum(found)


def bytes_sent(  # noqa: PLR0913, PLR0917 - the shape of what is summed, and how often
    tokens: int, hidden: int, layers: int, value_bytes: int, size: int, embeddings: int = 0
) -> int:
    """Return what a rank sends in a pass: two ring all-reduces a layer, 2 (size − 1) / size tensors each.

    ``embeddings``: 1 for a rank that holds a share of the embedding, whose rows are summed too. The choice of
    a token, two numbers a sequence, is left out.
    """
    each = tokens * hidden * value_bytes
    return (2 * layers + embeddings) * each * 2 * (size - 1) // size
