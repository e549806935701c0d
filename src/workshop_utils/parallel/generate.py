"""The decode loop, one for all strategies: prompts in, tokens out, and how long it took.

A micro-batch's turn is the same everywhere: get what the layers here need (token ids on the first stage,
hidden states on the others), run, hand on. With one stage nothing is handed on, and there is one micro-batch.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from workshop_utils.monitor.tokens import count_tokens
from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.pipeline import Link
from workshop_utils.parallel.runner import Runner


@dataclass(frozen=True, slots=True)
class Generation:
    """``tokens``: the new ones of each prompt, on ranks of the first and the last stage, else empty.

    ``ttft_seconds`` to the first token of all sequences, ``decode_seconds`` for all others, as the last stage
    sees it, which makes them. ``logits`` (batch, new tokens, vocabulary) there, where they were asked for.
    """

    tokens: list[list[int]]
    ttft_seconds: float
    decode_seconds: float
    logits: Any = None

    @property
    def tpot_seconds(self) -> float:
        """Seconds from one token of a sequence to its next."""
        steps = len(self.tokens[0]) - 1 if self.tokens else 0
        return self.decode_seconds / steps if steps else 0.0


def generate(  # noqa: PLR0913 - prompts, how many tokens, and how they go through the stages
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    *,
    link: Link | None = None,
    micro_batches: int = 1,
    keep_logits: bool = False,
    runner: Callable[..., Runner] = Runner,
    progress: Callable[[int], None] = lambda done: None,
) -> Generation:
    """Continue every prompt by ``new_tokens`` tokens, greedily; every rank of a replica calls this alike.

    ``progress`` is called with the number of tokens that every sequence has.
    """
    import torch

    link = link or Link()
    parts = micro(prompts, micro_batches)
    room = max(map(len, prompts)) + new_tokens

    def made(done: int) -> None:
        if link.last and decoder.tensor.rank == 0:  # each token once, where several ranks know it
            count_tokens(len(prompts))
        progress(done)

    with torch.inference_mode(), ExitStack() as kept:
        runners = [
            kept.enter_context(closing(runner(decoder, len(part), room, keep_logits, max(map(len, part)))))
            for part in parts
        ]
        inputs = [padded(part, decoder.device) for part in parts]
        link.meet()
        wait(decoder.device)
        started = time.perf_counter()
        chosen = [[prefill(one, *part, link)] for one, part in zip(runners, inputs, strict=True)]
        wait(decoder.device)
        first = time.perf_counter()
        made(1)
        for done in range(2, new_tokens + 1):
            for one, tokens in zip(runners, chosen, strict=True):
                tokens.append(step(one, tokens, link))
            made(done)
        for one, tokens in zip(runners, chosen, strict=True):
            latest(one, tokens, link)
        link.settle()
        wait(decoder.device)
        ended = time.perf_counter()
    known = [torch.stack(tokens, 1).tolist() for tokens in chosen if link.first or link.last]
    return Generation(
        tokens=[row for rows in known for row in rows],
        ttft_seconds=first - started,
        decode_seconds=ended - first,
        logits=torch.cat([torch.stack(r.logits, 1) for r in runners]) if link.last and keep_logits else None,
    )


def prefill(runner: Runner, ids: Any, lengths: Any, link: Link) -> Any:
    """Run one micro-batch's prompts here; returns its tokens on the last stage, else None."""
    x = ids if link.first else link.receive_hidden(hidden_like(runner, ids.shape[1]))
    return handed_on(runner.prefill(x, lengths), link)


def step(runner: Runner, tokens: list[Any], link: Link) -> Any:
    """Run one micro-batch's next token here; ``tokens`` are those chosen so far."""
    x = latest(runner, tokens, link)[:, None] if link.first else link.receive_hidden(hidden_like(runner, 1))
    return handed_on(runner.step(x), link)


def latest(runner: Runner, tokens: list[Any], link: Link) -> Any:
    """Return the last tokens; the first of several stages waits for them only now, when it needs them."""
    import torch

    if link.first and not link.last:
        into = torch.empty(runner.batch, dtype=torch.long, device=runner.decoder.device)
        tokens[-1] = link.receive_tokens(into)
    return tokens[-1]


def handed_on(result: Any, link: Link) -> Any:
    """Send hidden states to the next stage, or the last one's tokens to the first; returns the tokens."""
    if not link.last:
        link.send_hidden(result)
        return None
    if not link.first:
        link.send_tokens(result)
    return result


def hidden_like(runner: Runner, tokens: int) -> Any:
    """Return an empty tensor for what the stage before sends."""
    import torch

    decoder = runner.decoder
    shape = (runner.batch, tokens, decoder.spec.hidden)
    return torch.empty(shape, device=decoder.device, dtype=decoder.dtype)


def micro(prompts: Sequence[Sequence[int]], count: int) -> list[Sequence[Sequence[int]]]:
    """Return the prompts in ``count`` parts, as equal as they can be, in order; never an empty one."""
    count = min(count, len(prompts))
    bounds = [len(prompts) * part // count for part in range(count + 1)]
    return [prompts[a:b] for a, b in pairwise(bounds)]


def padded(prompts: Sequence[Sequence[int]], device: str) -> tuple[Any, Any]:
    """Return ids (batch, longest), filled up behind each prompt's end, and the lengths (batch)."""
    import torch

    longest = max(map(len, prompts))
    rows = [[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts]
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    return torch.tensor(rows, device=device), lengths


def wait(device: str) -> None:
    """Wait until the GPU has done all that it was given."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize(device)
