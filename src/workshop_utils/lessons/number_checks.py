"""Checked exercises whose answer is no amount of memory: seconds, percent, a count."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from workshop_utils.lessons.checks import Feedback, is_close
from workshop_utils.lessons.ledger import as_number


@dataclass(frozen=True)
class Slip:
    """A known way to go wrong: the number it gives, and the sentence that names it."""

    name: str
    value: Callable[[], float]
    hint: str


@dataclass(frozen=True)
class NumberExercise:
    """A question whose answer is a number of ``unit``.

    ``engine`` is the workshop's own code; ``solution`` the formula that a reader would write, so that with
    solutions two ways meet. ``explanation`` follows a right answer.
    """

    key: str
    unit: str
    engine: Callable[[], float]
    solution: Callable[[], float]
    slips: tuple[Slip, ...]
    hint: str
    explanation: str


def check_number(exercise: NumberExercise, answer: object) -> Feedback:
    """Compare an answer with the engine's number and name the mistake it shows, if known. Never raises."""
    if os.environ.get("WORKSHOP_SOLUTIONS") == "1":
        feedback = judge_number(exercise, exercise.solution())
        assert feedback.correct, f"the reference solution of {exercise.key} fails its own check: {feedback}"
        return feedback
    try:
        return judge_number(exercise, answer)
    except Exception as error:  # a reader's Run All must not stop here
        return Feedback(False, f"This answer could not be read ({type(error).__name__}); write a number.")


def judge_number(exercise: NumberExercise, answer: object) -> Feedback:
    """Return the feedback for one answer."""
    if answer is ... or answer is None:
        return Feedback(None, f"Fill in your answer in place of the dots. {exercise.hint}")
    number = as_number(answer)
    if number is None:
        return Feedback(False, f"{answer!r} is no number; write one in {exercise.unit}, for example 12.")
    right = exercise.engine()
    if is_close(number, right):
        return Feedback(True, f"Right: {right:.3g} {exercise.unit}. {exercise.explanation}")
    for slip in exercise.slips:
        if is_close(number, slip.value()):
            return Feedback(False, slip.hint, slip.name)
    direction = "large" if number > right else "small"
    return Feedback(False, f"{number:g} {exercise.unit} is too {direction}. {exercise.hint}")
