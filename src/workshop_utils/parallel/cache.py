"""A static KV cache: room for every token from the start, so that tensors keep their place and size.

Each sequence has its own length. What a shorter prompt was padded with lies behind its length, where nothing
looks, and the next token overwrites it.
"""

from typing import Any


class KvCache:
    """``keys`` and ``values``: a tensor a layer, (batch, KV heads of this rank, room, head_dim).

    ``lengths`` (batch) counts the tokens of each sequence on the device, ``longest`` is the largest of them
    on the host, which then need not ask the device. ``whole``: attention looks at all of the room, a mask
    hiding what is not filled, because a graph's shapes must not change.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the dimensions of a cache
        self, layers: int, batch: int, kv_heads: int, room: int, head_dim: int, device: str, dtype: Any
    ) -> None:
        import torch

        shape = (batch, kv_heads, room, head_dim)
        # Zeros, not what memory held before: a hidden place is multiplied by 0, and 0 × NaN is NaN.
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(layers)]
        self.lengths = torch.zeros(batch, device=device, dtype=torch.long)
        self.longest, self.room, self.whole = 0, room, False

    def advance(self) -> None:
        """Count one more token of every sequence."""
        self.lengths += 1
        self.longest += 1

    def grow(self) -> None:
        """Make room for one more token, as a cache must that has none to spare: all of it is copied."""
        import torch.nn.functional as F

        self.keys = [F.pad(keys, (0, 0, 0, 1)) for keys in self.keys]
        self.values = [F.pad(values, (0, 0, 0, 1)) for values in self.values]
        self.room += 1

    def filled(self, lengths: Any, longest: int) -> None:
        """Set what a prefill has left."""
        self.lengths.copy_(lengths)
        self.longest = longest
