"""Data parallelism: several replicas of a whole model, each answering other prompts. Nothing is exchanged.

The prompts stand in one queue, from which every replica takes its next few when it is done with the last: a
slow replica simply takes fewer, and no plan of shares is needed. What a replica has taken and not answered
when it ends goes back to the queue, so that its failure costs time, not answers.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from workshop_utils.errors import WorkshopError
from workshop_utils.parallel.prompt_service import PromptService

Prompt = Sequence[int]
Answer = list[int]
# A replica that says nothing of its prompts for so long has others answer them too.
PATIENCE_SECONDS = 300.0
# A launcher ends its ranks in less.
LONGEST_END_SECONDS = 10.0


class PromptQueue:
    """Prompts that wait, are being answered, or have their answer; safe to use from several threads."""

    def __init__(
        self, prompts: Sequence[Prompt], patience_seconds: float = PATIENCE_SECONDS, replicas: int = 1
    ) -> None:
        self._prompts = prompts
        self._patience, self._replicas = patience_seconds, replicas
        self._known: set[int] = set()
        self.started = self.ended = monotonic()
        self._waiting = deque(range(len(prompts)))
        self._taken: dict[int, dict[int, float]] = {}
        self._answers: dict[int, Answer] = {}
        self._changed = threading.Condition()
        self.answered_by: dict[int, int] = {}

    def take(self, replica: int, count: int) -> dict[int, Prompt]:
        """Return up to ``count`` prompts by number, {} when all have their answers.

        The first ones are given when all replicas have asked or ended, so that they start together. Later a
        replica waits while others may give some back.
        """
        with self._changed:
            self._there(replica)
            while len(self._known) < self._replicas:
                self._changed.wait()
            while len(self._answers) < len(self._prompts):
                self._take_back_overdue()
                if self._waiting:
                    numbers = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
                    self._taken.setdefault(replica, {}).update(dict.fromkeys(numbers, monotonic()))
                    return {number: self._prompts[number] for number in numbers}
                self._changed.wait(timeout=min(1.0, self._patience))
            return {}

    def answer(self, replica: int, answers: dict[int, Answer]) -> None:
        """Keep the first answer of every prompt; a second one, of a replica thought lost, changes nothing."""
        with self._changed:
            for number, tokens in answers.items():
                self._taken.get(replica, {}).pop(number, None)
                if number not in self._answers:
                    self._answers[number] = tokens
                    self.answered_by[number] = replica
                    self.ended = monotonic()
            self._changed.notify_all()

    def lost(self, replica: int) -> list[int]:
        """Put back what a replica that ended has taken; returns the numbers."""
        with self._changed:
            self._there(replica)
            numbers = [n for n in self._taken.pop(replica, {}) if n not in self._answers]
            self._waiting.extendleft(reversed(numbers))
            self._changed.notify_all()
            return numbers

    @property
    def missing(self) -> int:
        """Prompts without an answer."""
        with self._changed:
            return len(self._prompts) - len(self._answers)

    def answers(self) -> list[Answer]:
        """Return all answers in the order of the prompts; WorkshopError while some are missing."""
        if self.missing:
            raise WorkshopError(f"{self.missing} of {len(self._prompts)} prompts have no answer.")
        return [self._answers[number] for number in range(len(self._prompts))]

    def _there(self, replica: int) -> None:
        if replica not in self._known:
            self._known.add(replica)
            self.started = monotonic()
            self._changed.notify_all()

    def _take_back_overdue(self) -> None:
        for taken in self._taken.values():
            for number in [n for n, since in taken.items() if monotonic() - since > self._patience]:
                del taken[number]
                if number not in self._answers:
                    self._waiting.append(number)


@dataclass(frozen=True, slots=True)
class Answered:
    """``answers`` in the order of the prompts, and how many each replica gave (``by``).

    ``failures`` says of replicas that ended early how; ``seconds`` are those from the first prompt given to
    the last answer.
    """

    answers: list[Answer]
    by: dict[int, int]
    failures: dict[int, str]
    seconds: float


def answer_all(  # noqa: PLR0913 - prompts, replicas, and what may happen
    prompts: Sequence[Prompt],
    replicas: int,
    start: Callable[[int, PromptService], str | None],
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    progress: Callable[[int], None] = lambda answered: None,
    stop: Callable[[], None] = lambda: None,
) -> Answered:
    """Answer all prompts with ``replicas`` replicas.

    ``start`` runs one replica to its end, in a thread of its own, and returns None or how it failed; the
    service tells it where the prompts are. When this is interrupted, ``stop`` must have them all end. Raises
    WorkshopError, with the failures, when all have failed and prompts are left.
    """
    queue = PromptQueue(prompts, patience_seconds, replicas)
    failures: dict[int, str] = {}
    with PromptService(queue) as service:

        def run(replica: int) -> None:
            if reason := start(replica, service):
                failures[replica] = reason
            queue.lost(replica)

        threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(replicas)]
        for thread in threads:
            thread.start()
        try:
            for thread in waited_for(threads):
                progress(len(prompts) - queue.missing)
                thread.join(0.1)
        except BaseException:
            stop()
            for thread in threads:
                thread.join(LONGEST_END_SECONDS)
            raise
    if queue.missing:
        reasons = "; ".join(f"replica {number}: {reason}" for number, reason in sorted(failures.items()))
        raise WorkshopError(
            f"{queue.missing} of {len(prompts)} prompts have no answer, as every replica ended: "
            f"{reasons or 'none said why'}"
        )
    progress(len(prompts))
    counts = {number: list(queue.answered_by.values()).count(number) for number in range(replicas)}
    return Answered(queue.answers(), counts, failures, queue.ended - queue.started)


def waited_for(threads: Sequence[threading.Thread]) -> Iterator[threading.Thread]:
    """Yield a thread that still runs, as long as there is one."""
    while running := [thread for thread in threads if thread.is_alive()]:
        yield running[0]
