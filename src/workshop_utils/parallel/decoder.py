"""A text decoder, or one rank's share of it: some of its layers, and of each layer some heads and channels.

It computes what the transformers class of the same model computes (tests compare the logits), on the same
weights, in a form that is short enough to read and that a GPU can replay without its host.
"""

from dataclasses import dataclass
from typing import Any

from workshop_utils.parallel.attention import heads_of, prompt_attention, token_attention
from workshop_utils.parallel.cache import KvCache
from workshop_utils.parallel.experts import mixture
from workshop_utils.parallel.layer_weights import LayerWeights
from workshop_utils.parallel.norms import gated, rms_norm
from workshop_utils.parallel.spec import DecoderSpec
from workshop_utils.parallel.tensor import TensorGroup, embed


@dataclass(slots=True)
class Decoder:
    """Layers ``first`` … of a model on one rank.

    ``embedding`` is None but on the first stage, ``final_norm`` and ``head`` but on the last one. ``tables``:
    cosines and sines by name. All tensors are on ``device``.
    """

    spec: DecoderSpec
    tensor: TensorGroup
    first: int
    layers: list[LayerWeights]
    embedding: Any
    final_norm: Any
    head: Any
    tables: dict[str, tuple[Any, Any]]
    device: str
    dtype: Any

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights on this rank; a tied head is its embedding."""
        ends = {id(t): t.nbytes for t in (self.embedding, self.final_norm, self.head) if t is not None}
        total: int = sum(layer.bytes for layer in self.layers) + sum(ends.values())
        return total

    def unread_bytes(self, batch: int) -> int:
        """Bytes of the weights that a step of ``batch`` sequences does not read.

        An embedding that is no head too, and the experts that no sequence chooses: so many as are left where
        all are equally likely.
        """
        embedding = 0 if self.embedding is None or self.spec.tied else int(self.embedding.nbytes)
        if self.spec.experts is None:
            return embedding
        left = (1 - self.spec.experts.active / self.spec.experts.count) ** batch
        return embedding + int(left * sum(one.gate_up.nbytes + one.down.nbytes for one in self.layers))

    def cache_bytes(self, batch: int, tokens: int) -> int:
        """Bytes of K and V of ``batch`` sequences of ``tokens`` tokens on this rank; windows shorten them."""
        heads = self.tensor.kv_heads(self.spec.kv_heads)
        each = 2 * (heads.stop - heads.start) * self.spec.head_dim * self.dtype.itemsize
        layers = self.spec.layers[self.first : self.first + len(self.layers)]
        total: int = batch * sum(each * min(tokens, layer.window or tokens) for layer in layers)
        return total

    def new_cache(self, batch: int, room: int) -> KvCache:
        """Return an empty cache for ``batch`` sequences of up to ``room`` tokens."""
        heads = self.tensor.kv_heads(self.spec.kv_heads)
        kv_heads = heads.stop - heads.start
        return KvCache(len(self.layers), batch, kv_heads, room, self.spec.head_dim, self.device, self.dtype)

    def prefill(self, x: Any, cache: KvCache, lengths: Any) -> Any:
        """Run prompts, and fill the cache.

        ``x``: token ids (batch, tokens) on the first stage, else hidden states (batch, tokens, hidden);
        prompts shorter than the longest are padded behind their end. ``lengths`` (batch) are the prompts'.
        Returns hidden states, or on the last stage this rank's logits of each prompt's last token, (batch,
        rows).
        """
        import torch

        tokens = x.shape[1]
        turns = {
            name: (c[None, None, :tokens], s[None, None, :tokens]) for name, (c, s) in self.tables.items()
        }
        hidden = self._run(x, cache, turns, prompt_attention)
        cache.filled(lengths, tokens)
        if self.head is None:
            return hidden
        return self.logits(hidden[torch.arange(len(lengths), device=hidden.device), lengths - 1])

    def step(self, x: Any, cache: KvCache) -> Any:
        """Run one new token of each sequence: ids (batch, 1), or hidden states. Returns as ``prefill``."""
        turns = {
            name: (c[cache.lengths][:, None, None], s[cache.lengths][:, None, None])
            for name, (c, s) in self.tables.items()
        }
        hidden = self._run(x, cache, turns, token_attention)
        cache.advance()
        return hidden if self.head is None else self.logits(hidden[:, -1])

    def _run(self, x: Any, cache: KvCache, turns: dict[str, tuple[Any, Any]], attend: Any) -> Any:
        hidden = x if self.embedding is None else self.embedded(x)
        for number, weights in enumerate(self.layers):
            hidden = self._layer(hidden, number, weights, cache, turns, attend)
        return hidden

    def _layer(  # noqa: PLR0913, PLR0917 - a layer, its input and its cache
        self, hidden: Any, number: int, weights: LayerWeights, cache: KvCache, turns: Any, attend: Any
    ) -> Any:
        import torch.nn.functional as F

        spec, layer = self.spec, self.spec.layers[self.first + number]
        q, k, v = heads_of(rms_norm(hidden, weights.attention_norm, spec), weights, spec, turns[layer.rotary])
        mixed = attend(q, k, v, cache, number, layer.window, spec.scale)
        mixed = mixed.transpose(1, 2).flatten(2)
        mixed = self.tensor.sum(F.linear(mixed, weights.output))
        if spec.sandwich_norms:
            mixed = rms_norm(mixed, weights.after_attention_norm, spec)
        hidden = hidden + mixed
        normed = rms_norm(hidden, weights.mlp_norm, spec)
        if spec.experts:
            result = mixture(normed, weights, spec)
        else:
            result = F.linear(gated(F.linear(normed, weights.gate_up), spec.activation), weights.down)
        result = self.tensor.sum(result)
        if spec.sandwich_norms:
            result = rms_norm(result, weights.after_mlp_norm, spec)
        return hidden + result

    def embedded(self, ids: Any) -> Any:
        """Return the hidden states that token ids (batch, tokens) begin with."""
        import torch

        hidden = embed(ids, self.embedding, self.tensor.rank * self.embedding.shape[0], self.tensor)
        if self.spec.embedding_scale is None:
            return hidden
        return hidden * torch.tensor(self.spec.embedding_scale, dtype=self.dtype)

    def logits(self, hidden: Any) -> Any:
        """Return this rank's logits of hidden states (batch, hidden) behind the last layer."""
        import torch.nn.functional as F

        return F.linear(rms_norm(hidden, self.final_norm, self.spec), self.head)

    def all_logits(self, part: Any) -> Any:
        """Return the logits of the whole vocabulary from this rank's part of them."""
        return self.tensor.gather(part)[..., : self.spec.vocabulary]
