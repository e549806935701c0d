"""Runs from CUDA graphs: a pass is recorded once and then replayed, one launch for all its kernels."""

from collections.abc import Callable
from functools import cache, partial
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
# Prompts of more tokens together keep a GPU busy for longer than their launches take, some 10 ms.
MOST_RECORDED_TOKENS = 2048


@cache
def recording_stream(device: str) -> Any:
    """Return the one stream on which passes are recorded: cuBLAS keeps some 32 MiB for each that it sees."""
    import torch

    return torch.cuda.Stream(device)


class RecordedPass:
    """A pass as a graph on a GPU; what it reads and writes has one place for good.

    ``run`` takes nothing, reads ``inputs`` and returns logits or hidden states, and what is handed on. It is
    kept, and must not hold its own ``RecordedPass``. It works in the memory of the pass ``beside`` it, which
    never replays at the same time.
    """

    def __init__(
        self,
        run: Callable[[], tuple[Any, Any]],
        inputs: tuple[Any, ...],
        device: str,
        beside: "RecordedPass | None" = None,
    ) -> None:
        import torch

        # A graph knows addresses only: what ``run`` holds, such as its workspace, must live as long.
        self._run, self.inputs = run, inputs
        stream = recording_stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        pool = None if beside is None else beside.memory
        with torch.cuda.graph(self._graph, pool=pool, stream=stream):
            self.result, self.output = run()

    @property
    def memory(self) -> Any:
        """What it works in."""
        return self._graph.pool()

    def replay(self, *inputs: Any) -> None:
        """Run on these; ``result`` and ``output`` hold what came out until the next replay."""
        for place, given in zip(self.inputs, inputs, strict=True):
            place.copy_(given)
        self._graph.replay()

    def close(self) -> None:
        """Let the graph go: NCCL does not leave while there is one that calls it."""
        self._graph.reset()


class GraphRunner(Runner):
    """A runner whose step is a graph, and so is its prefill where the prompts are short.

    Recording takes several passes, before any prompt is there: a first token is sooner, not the whole run.
    ``prompt``: tokens of the longest prompt that will come, 0 where that is not known.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - as every runner
        self,
        decoder: Decoder,
        batch: int,
        room: int,
        keep_logits: bool = False,
        prompt: int = 0,
        tricks: Tricks = ALL_TRICKS,
    ) -> None:
        super().__init__(decoder, batch, room, keep_logits, prompt, tricks)
        step, x = one_token(decoder, self.cache, tricks), self._place(1)
        self._step = RecordedPass(lambda: with_output(step(x), decoder, tricks), (x,), decoder.device)
        self._prompts = self._recorded_prefill(prompt) if self._records(prompt) else None
        # The warm-ups and the recordings counted tokens that there are not.
        self.cache.lengths.zero_()
        self.cache.longest = 0

    def _records(self, prompt: int) -> bool:
        """Experts are chosen by the host in a prefill, which no graph can hold."""
        short = 0 < self.batch * prompt <= MOST_RECORDED_TOKENS
        return short and self.tricks.kernels and self.decoder.spec.experts is None

    def _recorded_prefill(self, prompt: int) -> RecordedPass:
        import torch

        decoder, cache, tricks, x = self.decoder, self.cache, self.tricks, self._place(prompt)
        lengths = torch.full((self.batch,), prompt, device=decoder.device)
        return RecordedPass(
            lambda: with_output(fast_prefill(decoder, x, cache, lengths), decoder, tricks),
            (x, lengths),
            decoder.device,
            beside=self._step,
        )

    def _place(self, tokens: int) -> Any:
        """Return where ids or hidden states of so many tokens of each sequence are read from."""
        import torch

        decoder = self.decoder
        if decoder.embedding is not None:
            return torch.zeros((self.batch, tokens), dtype=torch.long, device=decoder.device)
        shape = (self.batch, tokens, decoder.spec.hidden)
        return torch.zeros(shape, dtype=decoder.dtype, device=decoder.device)

    def prefill(self, x: Any, lengths: Any) -> Any:
        """Run prompts; long ones eagerly, as a launch costs nothing beside their work."""
        if self._prompts is not None and x.shape == self._prompts.inputs[0].shape:
            return self._replayed(self._prompts, x.shape[1], x, lengths)
        if not self.tricks.kernels:
            return super().prefill(x, lengths)
        return self._given(fast_prefill(self.decoder, x, self.cache, lengths))

    def step(self, x: Any) -> Any:
        """Replay the step on ``x``."""
        return self._replayed(self._step, self.cache.longest + 1, x)

    def close(self) -> None:
        """Let the graphs go."""
        for recorded in filter(None, (self._prompts, self._step)):
            recorded.close()

    def _replayed(self, recorded: RecordedPass, longest: int, *inputs: Any) -> Any:
        """Return a copy of what comes out, because the next replay overwrites its place."""
        recorded.replay(*inputs)
        self.cache.longest = longest
        if self.logits is not None and self.decoder.head is not None:
            self.logits.append(self.decoder.all_logits(recorded.result).float().cpu())
        if self.decoder.head is not None and not self.tricks.device_sampling:
            return picked_on_host(recorded.output, self.decoder)
        return recorded.output.clone()


def one_token(decoder: Decoder, cache: KvCache, tricks: Tricks) -> Callable[[Any], Any]:
    """Return what runs one token of each sequence: from our kernels, or torch's over the whole cache."""
    if tricks.kernels:
        return FastStep(decoder, cache, tricks)
    cache.whole = True
    return partial(decoder.step, cache=cache)


def with_output(result: Any, decoder: Decoder, tricks: Tricks) -> tuple[Any, Any]:
    """Return logits or hidden states, and what is handed on: tokens, or the same."""
    if decoder.head is None or not tricks.device_sampling:
        return result, result
    return result, pick(result, decoder.tensor, decoder.spec.vocabulary)
