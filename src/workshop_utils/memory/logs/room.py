"""The memory there is, and the search for the largest or smallest value that an estimate says fits in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.logs.facts import LogFacts, RankMemory
from workshop_utils.memory.logs.question import Answer, Question, ask

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Advice:
    """One change that our estimate says is enough: the option, its value, and the sentence for a reader."""

    option: str
    value: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Room:
    """The memory there is, and what the log showed to differ from our estimate.

    ``pool_shift``: bytes that vLLM's pool had beyond the predicted ones (fewer: negative). ``need_shift``:
    bytes that tensors took beyond our peak. ``limit_bytes``: what one process may take.
    """

    pool_shift: int = 0
    need_shift: int = 0
    limit_bytes: int | None = None

    def holds(self, question: Question) -> bool:
        """Whether an estimate of ``question`` fits, corrected by what the log showed."""
        try:
            answer = ask(question)
        except WorkshopError:
            return False
        if question.engine == "vllm":
            pool, request = answer.sizes["kv_pool_bytes"], answer.request_bytes
            return bool(pool and request and pool + self.pool_shift >= request)
        return self.limit_bytes is not None and answer.process_bytes + self.need_shift <= self.limit_bytes


def room_of(facts: LogFacts, question: Question, answer: Answer, reported: RankMemory) -> Room:
    """Return the room of this log: its GPU less other processes, and its gaps from our estimate."""
    pool = reported.kv_pool_bytes or (facts.refusal.available_bytes if facts.refusal else None)
    predicted = answer.sizes["kv_pool_bytes"]
    shift = pool - predicted if pool is not None and predicted is not None else 0
    oom = facts.oom
    need = max(0, (oom.needed_bytes or 0) - answer.peak_bytes) if oom else 0
    return Room(pool_shift=shift, need_shift=need, limit_bytes=limit_of(facts, question))


def limit_of(facts: LogFacts, question: Question) -> int | None:
    """Return what the process may take: what it has and what is free, else the GPU less other processes."""
    oom = facts.oom
    total = facts.gpu_bytes or (question.gpu.usable_bytes if question.gpu else None)
    if oom is None:
        return total
    own = (oom.process_bytes, oom.free_bytes)
    reached = own[0] + own[1] if own[0] is not None and own[1] is not None else None
    shared = total - oom.other_bytes if total else None
    limits = [size for size in (oom.allowed_bytes, reached or shared) if size]
    return min(limits, default=None)


def largest(values: Sequence[int], change: Callable[[int], Question], room: Room) -> int | None:
    """Return the largest of rising ``values`` that fits, by bisection: more never needs less."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if room.holds(change(values[middle])) else (low, middle)
    return values[low - 1] if low else None


def first(values: Sequence[Value], change: Callable[[Value], Question], room: Room) -> Value | None:
    """Return the first of ``values`` that fits."""
    return next((value for value in values if room.holds(change(value))), None)


def with_tokens(question: Question) -> Callable[[int], Question]:
    return lambda tokens: question.changed(tokens=tokens)
