"""Checked exercises: a check answers with a hint and never raises, so that Run All always works.

With ``WORKSHOP_SOLUTIONS=1`` the check puts the reference solution in the answer's place and asserts it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from workshop_utils.lessons.ledger import as_number
from workshop_utils.units import GB, GIB

CLOSE = 0.01  # an answer counts as equal within one percent: rounding is no mistake


@dataclass(frozen=True)
class Mistake:
    """A known way to go wrong: the bytes it gives, and the sentence that names it."""

    name: str
    bytes: Callable[[], float]
    hint: str


@dataclass(frozen=True)
class Exercise:
    """A question whose answer is in decimal GB.

    ``engine_bytes`` comes from the memory engine; ``solution_bytes`` is the formula that a reader would
    write, so that with solutions two independent ways meet. ``explanation`` follows a right answer.
    """

    key: str
    engine_bytes: Callable[[], float]
    solution_bytes: Callable[[], float]
    mistakes: tuple[Mistake, ...]
    hint: str
    explanation: str


@dataclass(frozen=True)
class Feedback:
    """What a check says. ``correct`` is None as long as nothing was filled in."""

    correct: bool | None
    sentence: str
    mistake: str | None = None

    def __str__(self) -> str:
        return f"{ {True: '✓', False: '✗', None: '…'}[self.correct] } {self.sentence}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"  # text output would break long lines inside words


def check(exercise: Exercise, answer_gb: object) -> Feedback:
    """Compare an answer in GB with the engine's figure and name the mistake it shows, if known."""
    if os.environ.get("WORKSHOP_SOLUTIONS") == "1":
        feedback = judge(exercise, exercise.solution_bytes() / GB)
        assert feedback.correct, f"the reference solution of {exercise.key} fails its own check: {feedback}"
        return feedback
    try:
        return judge(exercise, answer_gb)
    except Exception as error:  # a reader's Run All must not stop here
        return Feedback(
            False, f"This answer could not be read ({type(error).__name__}); write a number in GB."
        )


def judge(exercise: Exercise, answer_gb: object) -> Feedback:
    """Return the feedback for one answer."""
    if answer_gb is ... or answer_gb is None:
        return Feedback(None, f"Fill in your answer in place of the dots. {exercise.hint}")
    number = as_number(answer_gb)
    if number is None:
        return Feedback(False, f"{answer_gb!r} is no number; write one in GB, for example 12.3.")
    right = exercise.engine_bytes()
    if is_close(number * GB, right):
        return Feedback(True, f"Right: {right / GB:.2f} GB. {exercise.explanation}")
    for mistake in (*exercise.mistakes, *unit_slips(right)):
        if is_close(number * GB, mistake.bytes()):
            return Feedback(False, mistake.hint, mistake.name)
    direction = "large" if number * GB > right else "small"
    return Feedback(False, f"{number:g} GB is too {direction}. {exercise.hint}")


def unit_slips(right: float) -> tuple[Mistake, ...]:
    """Return the slips that fit every exercise: the right amount in a wrong unit."""
    return (
        Mistake(
            "bits for bytes",
            lambda: right * 8,
            "Eight times too much: were these bits? bfloat16 has 16 bits, which are 2 bytes.",
        ),
        Mistake(
            "GiB for GB",
            lambda: right / GIB * GB,
            "This is the right amount in GiB (2³⁰ bytes). We count decimal GB here: divide by 10⁹.",
        ),
        Mistake("bytes for GB", lambda: right * GB, "This looks like bytes; divide by 10⁹ for GB."),
    )


def is_close(answer: float, reference: float) -> bool:
    """Say whether two figures agree within rounding."""
    return abs(answer - reference) <= CLOSE * abs(reference)
