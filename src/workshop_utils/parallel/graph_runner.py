"""Decoding from a CUDA graph: the step is recorded once and then replayed, one launch for all its kernels."""

from collections.abc import Callable
from functools import partial
from typing import Any

from workshop_utils.parallel.cache import KvCache
from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.fast_prefill import fast_prefill
from workshop_utils.parallel.fast_step import FastStep
from workshop_utils.parallel.runner import Runner, picked_on_host
from workshop_utils.parallel.sampling import pick
from workshop_utils.parallel.tricks import ALL_TRICKS, Tricks

# Before a graph is recorded, kernels must be compiled and NCCL connected.
WARM_UPS = 2


class GraphRunner(Runner):
    """A runner whose step is a graph on a GPU; what it reads and writes has one place for good."""

    def __init__(
        self, decoder: Decoder, batch: int, room: int, keep_logits: bool = False, tricks: Tricks = ALL_TRICKS
    ) -> None:
        import torch

        super().__init__(decoder, batch, room, keep_logits, tricks)
        device = torch.device(decoder.device)
        self._step = one_token(decoder, self.cache, tricks)
        if decoder.embedding is not None:
            self._input = torch.zeros((batch, 1), dtype=torch.long, device=device)
        else:
            self._input = torch.zeros((batch, 1, decoder.spec.hidden), dtype=decoder.dtype, device=device)
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._run()
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result, self._output = self._run()
        # The warm-ups and the recording counted tokens that there are not.
        self.cache.lengths.zero_()
        self.cache.longest = 0

    def prefill(self, x: Any, lengths: Any) -> Any:
        """Run prompts, eagerly: with many tokens a launch costs nothing beside its work."""
        if not self.tricks.kernels:
            return super().prefill(x, lengths)
        return self._given(fast_prefill(self.decoder, x, self.cache, lengths))

    def _run(self) -> tuple[Any, Any]:
        """Return the step's logits or hidden states, and what is handed on: tokens, or the same."""
        result = self._step(self._input)
        if self.decoder.head is None or not self.tricks.device_sampling:
            return result, result
        return result, pick(result, self.decoder.tensor, self.decoder.spec.vocabulary)

    def step(self, x: Any) -> Any:
        """Replay the step on ``x``; the result is a copy, because the next replay overwrites its place."""
        self._input.copy_(x)
        self._graph.replay()
        self.cache.longest += 1
        if self.logits is not None and self.decoder.head is not None:
            self.logits.append(self.decoder.all_logits(self._result).float().cpu())
        if self.decoder.head is not None and not self.tricks.device_sampling:
            return picked_on_host(self._output, self.decoder)
        return self._output.clone()


def one_token(decoder: Decoder, cache: KvCache, tricks: Tricks) -> Callable[[Any], Any]:
    """Return what runs one token of each sequence: from our kernels, or torch's over the whole cache."""
    if tricks.kernels:
        return FastStep(decoder, cache, tricks)
    cache.whole = True
    return partial(decoder.step, cache=cache)
