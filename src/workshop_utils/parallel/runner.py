"""A decoder with a cache, one micro-batch of sequences: runs prompts, then one token at a time."""

from collections.abc import Callable
from functools import partial
from typing import Any

from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.sampling import pick
from workshop_utils.parallel.tricks import ALL_TRICKS, Tricks


class Runner:
    """Keeps the cache of ``batch`` sequences, and with ``keep_logits``, on the last stage, all logits.

    ``prompt``: tokens of the longest prompt that will come, for a runner that prepares itself for it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what runs, how much of it, and how
        self,
        decoder: Decoder,
        batch: int,
        room: int,
        keep_logits: bool = False,
        prompt: int = 0,
        tricks: Tricks = ALL_TRICKS,
    ) -> None:
        self.decoder, self.batch, self.tricks = decoder, batch, tricks
        self.cache = decoder.new_cache(batch, room if tricks.static_cache or not prompt else prompt)
        self.logits: list[Any] | None = [] if keep_logits else None

    def prefill(self, x: Any, lengths: Any) -> Any:
        """Run prompts; returns hidden states, or on the last stage each sequence's next token (batch)."""
        return self._given(self.decoder.prefill(x, self.cache, lengths))

    def step(self, x: Any) -> Any:
        """Run one token of each sequence, ids (batch, 1) or hidden states; returns as ``prefill``."""
        if self.cache.longest == self.cache.room:
            self.cache.grow()
        return self._given(self.decoder.step(x, self.cache))

    def close(self) -> None:
        """Let go of what must not outlive the ranks' connections."""

    def _given(self, result: Any) -> Any:
        if self.decoder.head is None:
            return result
        if self.logits is not None:
            self.logits.append(self.decoder.all_logits(result).float().cpu())
        if not self.tricks.device_sampling:
            return picked_on_host(result, self.decoder)
        return pick(result, self.decoder.tensor, self.decoder.spec.vocabulary)


def picked_on_host(part: Any, decoder: Decoder) -> Any:
    """Return each sequence's likeliest token, found on the host, which waits for all logits."""
    return decoder.all_logits(part).cpu().float().argmax(dim=-1).to(decoder.device)


def runner_for(decoder: Decoder, tricks: Tricks = ALL_TRICKS) -> Callable[..., Runner]:
    """Return what runs a decoder: on a GPU from a CUDA graph, in which every tensor has its place for good.

    Without our kernels, a step with experts asks the host which ones, and no graph can hold that.
    """
    asks_the_host = decoder.spec.experts is not None and not tricks.kernels
    if decoder.device == "cpu" or asks_the_host or not (tricks.graph and tricks.static_cache):
        return partial(Runner, tricks=tricks)
    from workshop_utils.parallel.graph_runner import GraphRunner

    return partial(GraphRunner, tricks=tricks)
