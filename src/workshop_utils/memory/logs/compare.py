"""Predicted beside actual: one row for each figure that a log states, and what would make the run fit."""

from dataclasses import asdict, dataclass, fields

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.logs.advice import advise
from workshop_utils.memory.logs.engines import cut_over_engines
from workshop_utils.memory.logs.explain import explain
from workshop_utils.memory.logs.facts import LogFacts, RankMemory
from workshop_utils.memory.logs.question import Answer, Choices, Question, ask, question_of
from workshop_utils.memory.logs.room import Advice
from workshop_utils.memory.logs.rows import Row, oom_rows, vllm_rows
from workshop_utils.models.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Comparison:
    """A log's facts beside our estimate of the same run.

    ``missing`` are the options that a prediction still needs, ``assumed`` what was filled in where the log is
    silent, ``unpredicted`` the sentence why there is no estimate although all is known. ``advice`` is in the
    order of what costs least; each piece was checked by an estimate of its own.
    """

    facts: LogFacts
    question: Question | None
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    assumed: tuple[str, ...]
    explanation: str
    advice: tuple[Advice, ...]
    unpredicted: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the schema of ``workshop read-log --json``; sizes in bytes."""
        asked = self.question.keywords | {"model": self.question.architecture.name} if self.question else None
        if asked and self.question and self.question.gpu:
            asked["gpu"] = self.question.gpu.name
        return {
            **self.facts.as_json(),
            "question": asked,
            "rows": [row.as_json() for row in self.rows],
            "missing": list(self.missing),
            "assumed": list(self.assumed),
            "unpredicted": self.unpredicted,
            "explanation": self.explanation,
            "advice": [asdict(piece) for piece in self.advice],
        }


def compare(facts: LogFacts, architecture: Architecture | None, choices: Choices | None = None) -> Comparison:
    """Return predicted beside actual for the model that ran; without it, the facts and what is missing.

    Raises WorkshopError where the reader's own choices cannot be estimated; what the log itself asks for and
    we cannot estimate becomes ``unpredicted``.
    """
    choices = choices or Choices()
    asked = question_of(facts, architecture, choices)
    question = asked.question
    reported = limiting_rank(facts)
    answer = None
    unpredicted = cut_over_engines(facts.setup, question.architecture) if question is not None else None
    if question is not None and unpredicted is None:
        try:
            answer = ask(question, reported.rank)
        except WorkshopError as error:
            if choices.any:
                raise
            unpredicted = str(error)
    rows = oom_rows(facts, answer) + vllm_rows(facts, reported, answer)
    return Comparison(
        facts=facts,
        question=question,
        rows=rows,
        missing=asked.missing,
        assumed=asked.assumed,
        explanation=explain(facts, question, answer, rows),
        advice=advised(facts, question, answer, reported),
        unpredicted=unpredicted,
    )


def advised(
    facts: LogFacts, question: Question | None, answer: Answer | None, reported: RankMemory
) -> tuple[Advice, ...]:
    if question is None or answer is None:
        return ()
    return advise(facts, question, answer, reported)


def limiting_rank(facts: LogFacts) -> RankMemory:
    """Return the rank with the smallest pool, which decides for all; what it leaves unsaid is another's."""
    if not facts.ranks:
        return RankMemory()
    pools = [rank for rank in facts.ranks if rank.kv_pool_bytes is not None]
    chosen = (
        min(pools, key=lambda rank: rank.kv_pool_bytes or 0)
        if pools
        else max(facts.ranks, key=lambda rank: rank.weights_bytes or 0)
    )
    sizes = {}
    for name in (field.name for field in fields(RankMemory) if field.name != "rank"):
        stated = [getattr(rank, name) for rank in (chosen, *facts.ranks) if getattr(rank, name) is not None]
        sizes[name] = stated[0] if stated else None
    return RankMemory(rank=chosen.rank, **sizes)
