"""One decode step from few, large kernels: what a GPU can replay without its host.

Eager decoding launches some forty kernels a layer, and each waits for Python. Here a layer is seven: the norm
is part of the product that reads it, Q, K and V are one product, gate, up and activation another, and the
residual is added where the product is written. Shapes never change, so that a CUDA graph can hold all layers.
"""

from typing import Any

from workshop_utils.parallel.cache import KvCache
from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.kernels.decode_attention import decode_attention, workspace_for
from workshop_utils.parallel.kernels.expert_matvec import gated_experts, summed_experts
from workshop_utils.parallel.kernels.gated_matvec import gated_matvec
from workshop_utils.parallel.kernels.matvec import MOST_VECTORS, matvec
from workshop_utils.parallel.kernels.rotate import rotate_and_store
from workshop_utils.parallel.kernels.router import route
from workshop_utils.parallel.kernels.rows import gated_rows, rms_norm_rows
from workshop_utils.parallel.layer_weights import LayerWeights
from workshop_utils.parallel.small_sum import SmallSum
from workshop_utils.parallel.tricks import ALL_TRICKS, Tricks


class FastStep:
    """Runs one new token of each sequence of a cache; on the device alone, after the first call."""

    def __init__(self, decoder: Decoder, cache: KvCache, tricks: Tricks = ALL_TRICKS) -> None:
        spec, tensor = decoder.spec, decoder.tensor
        self.decoder, self.cache, self.fused = decoder, cache, tricks.fused
        heads = tensor.share(spec.heads)
        kv_heads = tensor.kv_heads(spec.kv_heads)
        self.heads, self.kv_heads = heads.stop - heads.start, kv_heads.stop - kv_heads.start
        self.batch = len(cache.lengths)
        self.workspace = workspace_for(
            self.batch, self.heads, self.kv_heads, spec.head_dim, cache.room, decoder.device
        )
        shape = (self.batch, spec.hidden)
        self.sum = SmallSum(tensor, shape, decoder.dtype, decoder.device, tricks.one_shot)
        # Few sequences: a product reads the weights once for all, and no matrix unit is needed.
        self.few = self.batch <= MOST_VECTORS

    def __call__(self, x: Any) -> Any:
        """Return as ``Decoder.step``; ``x`` are ids (batch, 1) or hidden states (batch, 1, hidden)."""
        decoder = self.decoder
        hidden = (x if decoder.embedding is None else decoder.embedded(x)).view(self.batch, -1)
        lengths = self.cache.lengths + 1
        for number, weights in enumerate(decoder.layers):
            hidden = self._layer(hidden, number, weights, lengths)
        self.cache.lengths.copy_(lengths)
        if decoder.head is None:
            return hidden[:, None]
        return self._product(hidden, decoder.head, decoder.final_norm)

    def _layer(self, hidden: Any, number: int, weights: LayerWeights, lengths: Any) -> Any:
        spec, layer = self.decoder.spec, self.decoder.spec.layers[self.decoder.first + number]
        qkv = self._qkv(hidden, weights)
        keys, values = self.cache.keys[number], self.cache.values[number]
        q = rotate_and_store(
            qkv, *self.decoder.tables[layer.rotary], self.cache.lengths, keys, values,
            heads=self.heads, kv_heads=self.kv_heads, head_dim=spec.head_dim, q_norm=weights.q_norm,
            k_norm=weights.k_norm, eps=spec.eps, norm_offset=spec.norm_offset,
        )  # fmt: skip
        mixed = decode_attention(
            q, keys, values, lengths, scale=spec.scale, window=layer.window, workspace=self.workspace,
        )  # fmt: skip
        hidden = self._added(hidden, mixed.view(self.batch, -1), weights.output, weights.after_attention_norm)
        if spec.experts:
            return self._mixture(hidden, weights)
        inside = self._gated(hidden, weights)
        return self._added(hidden, inside, weights.down, weights.after_mlp_norm)

    def _qkv(self, hidden: Any, weights: LayerWeights) -> Any:
        """Return Q, K and V of each sequence, one behind the other."""
        if self.fused:
            return self._product(hidden, weights.qkv, weights.attention_norm, weights.qkv_bias)
        import torch

        sizes = [size * self.decoder.spec.head_dim for size in (self.heads, self.kv_heads, self.kv_heads)]
        biases = [None] * 3 if weights.qkv_bias is None else weights.qkv_bias.split(sizes)
        parts = zip(weights.qkv.split(sizes), biases, strict=True)
        return torch.cat([self._product(hidden, part, weights.attention_norm, b) for part, b in parts], dim=1)

    def _product(self, hidden: Any, weight: Any, norm: Any, bias: Any = None) -> Any:
        """Return weight × norm(hidden)."""
        spec = self.decoder.spec
        if self.few:
            return matvec(
                hidden, weight, norm=norm, eps=spec.eps, norm_offset=spec.norm_offset, bias=bias
            )  # fmt: skip
        import torch.nn.functional as F

        return F.linear(rms_norm_rows(hidden, norm, spec.eps, spec.norm_offset)[1], weight, bias)

    def _gated(self, hidden: Any, weights: LayerWeights) -> Any:
        """Return activation(gate) × up of the normed input."""
        spec = self.decoder.spec
        if self.few and self.fused:
            return gated_matvec(
                hidden, weights.gate_up, activation=spec.activation, norm=weights.mlp_norm, eps=spec.eps,
                norm_offset=spec.norm_offset,
            )  # fmt: skip
        if self.fused:
            return gated_rows(self._product(hidden, weights.gate_up, weights.mlp_norm), spec.activation)
        import torch

        halves = [self._product(hidden, half, weights.mlp_norm) for half in weights.gate_up.chunk(2)]
        return gated_rows(torch.cat(halves, dim=1), spec.activation)

    def _mixture(self, hidden: Any, weights: LayerWeights) -> Any:
        """Return hidden + the experts' output for its norm, summed over the ranks; no family norms that."""
        spec = self.decoder.spec
        assert spec.experts and weights.after_mlp_norm is None
        logits = self._product(hidden, weights.router, weights.mlp_norm)
        numbers, shares = route(logits, spec.experts.active, spec.experts.normalised)
        inside = gated_experts(
            hidden, weights.gate_up, numbers, shares, activation=spec.activation, norm=weights.mlp_norm,
            eps=spec.eps, norm_offset=spec.norm_offset,
        )  # fmt: skip
        residual = hidden if self.decoder.tensor.rank == 0 else None
        return self.sum(summed_experts(inside, weights.down, numbers, residual))

    def _added(self, hidden: Any, x: Any, weight: Any, norm: Any) -> Any:
        """Return hidden + weight × x, summed over the ranks, normed in between where the family does so."""
        tensor, spec = self.decoder.tensor, self.decoder.spec
        # The sum over ranks may as well begin with what is added to it, on one of them.
        residual = hidden if norm is None and tensor.rank == 0 else None
        if self.few:
            total = self.sum.product(x, weight, residual)
        else:
            import torch

            total = self.sum(x @ weight.T if residual is None else torch.addmm(residual, x, weight.T))
        if norm is None:
            return total
        return hidden + rms_norm_rows(total, norm, spec.eps, spec.norm_offset)[1]
