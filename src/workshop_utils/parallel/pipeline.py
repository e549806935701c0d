"""Pipeline parallelism: every rank holds some layers, and micro-batches follow one another through them.

One batch alone would keep one stage busy at a time: with S stages, each works 1/S of the time. Split into M
micro-batches, stage 2 works on the first while stage 1 works on the second; what stays idle while the
pipeline fills and drains is the *bubble*, (S − 1) / (M + S − 1) of the time of a prefill. In the decoding, a
sequence's next token needs its last one, so that M ≥ S micro-batches keep every stage busy. Source: Huang et
al., GPipe (arXiv:1811.06965), section 2.3.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from workshop_utils.errors import WorkshopError

if TYPE_CHECKING:
    from workshop_utils.parallel.spec import DecoderSpec


@dataclass(frozen=True, slots=True)
class Link:
    """How a stage reaches its neighbours; ``line`` are the ranks of all stages, in order.

    One stage needs none.

    Sends do not wait: the next micro-batch is computed while the last one travels. What is on its way is kept
    in ``travelling`` until it has arrived.
    """

    stage: int = 0
    stages: int = 1
    line: tuple[int, ...] = (0,)
    forward: Any = None
    back: Any = None
    travelling: deque[tuple[Any, Any]] = field(default_factory=deque)

    @property
    def first(self) -> bool:
        return self.stage == 0

    @property
    def last(self) -> bool:
        return self.stage == self.stages - 1

    def send_hidden(self, hidden: Any) -> None:
        """Send hidden states to the next stage."""
        self._send(hidden, self.line[self.stage + 1], self.forward)

    def receive_hidden(self, into: Any) -> Any:
        """Return ``into``, filled with the hidden states of the stage before."""
        return self._receive(into, self.line[self.stage - 1], self.forward)

    def send_tokens(self, tokens: Any) -> None:
        """Send new tokens from the last stage to the first."""
        self._send(tokens, self.line[0], self.back)

    def receive_tokens(self, into: Any) -> Any:
        """Return ``into``, filled with the last stage's new tokens."""
        return self._receive(into, self.line[-1], self.back)

    def meet(self) -> None:
        """Wait until every stage is here: clocks start together."""
        if self.stages > 1:
            import torch.distributed as dist

            dist.barrier(self.forward)

    def settle(self) -> None:
        """Wait until all that was sent has arrived."""
        while self.travelling:
            self.travelling.popleft()[0].wait()

    def _send(self, content: Any, to: int, group: Any) -> None:
        import torch.distributed as dist

        content = content.contiguous()
        self.travelling.append((dist.isend(content, to, group=group), content))
        while self.travelling and self.travelling[0][0].is_completed():
            self.travelling.popleft()

    @staticmethod
    def _receive(into: Any, sender: int, group: Any) -> Any:
        import torch.distributed as dist

        dist.irecv(into, sender, group=group).wait()
        return into


def stage_layers(layer_bytes: Sequence[int], head_bytes: int, stages: int) -> tuple[range, ...]:
    """Return the layers of each stage, so that the fullest stage reads as few bytes a token as it can.

    ``layer_bytes`` are the weights of each layer, ``head_bytes`` those of the head, which the last stage
    reads too; the embedding is only looked up. Every stage gets at least one layer; of equal splits the first
    ones get the more layers. Raises WorkshopError for more stages than layers.
    """
    count = len(layer_bytes)
    if not 1 <= stages <= count:
        raise WorkshopError(f"{count} layers cannot make {stages} stages; choose 1 to {count}.")
    upto = [0, *accumulate(layer_bytes)]

    def size(start: int, stop: int) -> int:
        return upto[stop] - upto[start] + (head_bytes if stop == count else 0)

    # fullest[n]: the fewest bytes of the fullest stage when the first n layers are split so far, and where
    # its last stage starts.
    fullest: dict[int, tuple[int, tuple[int, ...]]]
    fullest = {stop: (size(0, stop), (0,)) for stop in range(1, count + 1)}
    for stage in range(2, stages + 1):
        fullest = {
            stop: min(
                (max(fullest[start][0], size(start, stop)), (*fullest[start][1], start))
                for start in range(stage - 1, stop)
            )
            for stop in range(stage, count + 1)
        }
    starts = (*fullest[count][1], count)
    return tuple(range(a, b) for a, b in pairwise(starts))


def layers_of_stages(spec: "DecoderSpec", stages: int) -> tuple[range, ...]:
    """Return the layers of each stage of a decoder."""
    return stage_layers([spec.layer_values] * len(spec.layers), spec.hidden * spec.vocabulary, stages)


def bubble(stages: int, micro_batches: int) -> float:
    """Return the share of a prefill's time in which a stage has nothing to do."""
    return (stages - 1) / (micro_batches + stages - 1)


def decode_speedup(stages: int, micro_batches: int) -> float:
    """Return how many stages work at a time in the decoding: at most one for each micro-batch."""
    return float(min(stages, micro_batches))
