"""The exercises of notebooks 04 and 05: every known mistake is recognised by name."""

from pathlib import Path

import pytest

from workshop_utils.lessons.checks import Exercise, Mistake, check, is_close, unit_slips
from workshop_utils.lessons.exercises_data_parallel import (
    ALL_COPIES,
    ONE_TOKENS_PER_S,
    QUEUE_SECONDS,
    TWO_TOKENS_PER_S,
)
from workshop_utils.lessons.exercises_pipeline import BUBBLE, STAGE_CACHE
from workshop_utils.lessons.number_checks import NumberExercise, Slip, check_number
from workshop_utils.lessons.two_h100 import load_runs, one
from workshop_utils.units import GB

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
SIZES, NUMBERS = (ALL_COPIES, STAGE_CACHE), (QUEUE_SECONDS, BUBBLE)
MISTAKES = [(e, m) for e in SIZES for m in (*e.mistakes, *unit_slips(e.engine_bytes()))]
SLIPS = [(e, s) for e in NUMBERS for s in e.slips]


@pytest.fixture(autouse=True)
def as_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKSHOP_SOLUTIONS", raising=False)


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=[f"{e.key}: {m.name}" for e, m in MISTAKES])
def test_a_known_mistake_is_named(exercise: Exercise, mistake: Mistake) -> None:
    feedback = check(exercise, mistake.bytes() / GB)
    assert (feedback.correct, feedback.mistake) == (False, mistake.name)


@pytest.mark.parametrize(("exercise", "slip"), SLIPS, ids=[f"{e.key}: {s.name}" for e, s in SLIPS])
def test_a_known_slip_is_named(exercise: NumberExercise, slip: Slip) -> None:
    feedback = check_number(exercise, slip.value())
    assert (feedback.correct, feedback.mistake) == (False, slip.name)


@pytest.mark.parametrize("exercise", SIZES, ids=lambda exercise: exercise.key)
def test_engine_and_solution_agree(exercise: Exercise) -> None:
    assert exercise.solution_bytes() == exercise.engine_bytes()
    assert check(exercise, exercise.engine_bytes() / GB).correct


@pytest.mark.parametrize("exercise", NUMBERS, ids=lambda exercise: exercise.key)
def test_engine_and_solution_agree_on_numbers(exercise: NumberExercise) -> None:
    assert exercise.solution() == pytest.approx(exercise.engine())
    assert check_number(exercise, exercise.engine()).correct


@pytest.mark.parametrize("exercise", NUMBERS, ids=lambda exercise: exercise.key)
def test_no_two_slips_and_no_slip_and_the_truth_look_alike(exercise: NumberExercise) -> None:
    values = [exercise.engine(), *(slip.value() for slip in exercise.slips)]
    assert not [(a, b) for i, a in enumerate(values) for b in values[i + 1 :] if is_close(a, b)]


@pytest.mark.parametrize("answer", ["20", [], object(), True, float("nan"), 10**400])
def test_an_answer_that_is_no_number_never_raises(answer: object) -> None:
    assert check_number(BUBBLE, answer).correct is False


def test_dots_get_a_hint_and_solutions_replace_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_number(BUBBLE, ...).correct is None
    monkeypatch.setenv("WORKSHOP_SOLUTIONS", "1")
    assert check_number(BUBBLE, ...).correct
    assert check_number(QUEUE_SECONDS, ...).correct


def test_the_exercise_uses_the_recorded_speeds() -> None:
    runs = load_runs(RECORDED)
    chosen = {"model": "llama-3.1-8b", "engine": "transformers, eager", "batch": 32}
    assert one(runs, strategy="none", **chosen) == ONE_TOKENS_PER_S
    assert one(runs, strategy="data", **chosen) == TWO_TOKENS_PER_S
