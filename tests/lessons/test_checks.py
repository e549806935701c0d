"""Every known mistake is recognised by name; nothing that a reader types raises."""

import dataclasses
import math

import pytest

from workshop_utils.lessons.checks import GIB, Exercise, Mistake, check, is_close, judge, unit_slips
from workshop_utils.lessons.exercises_memory import DATA_PARALLEL, KV_CACHE
from workshop_utils.units import GB

EXERCISES = (KV_CACHE, DATA_PARALLEL)
EVERY_MISTAKE = [
    (exercise, mistake)
    for exercise in EXERCISES
    for mistake in (*exercise.mistakes, *unit_slips(exercise.engine_bytes()))
]


@pytest.fixture(autouse=True)
def as_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKSHOP_SOLUTIONS", raising=False)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.key)
def test_the_engine_and_the_solution_by_hand_agree_to_the_byte(exercise: Exercise) -> None:
    assert exercise.solution_bytes() == exercise.engine_bytes()


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.key)
def test_a_rounded_right_answer_is_right(exercise: Exercise) -> None:
    assert check(exercise, round(exercise.engine_bytes() / GB, 1)).correct


@pytest.mark.parametrize(
    ("exercise", "mistake"), EVERY_MISTAKE, ids=[f"{e.key}: {m.name}" for e, m in EVERY_MISTAKE]
)
def test_a_known_mistake_is_named(exercise: Exercise, mistake: Mistake) -> None:
    feedback = check(exercise, mistake.bytes() / GB)
    assert (feedback.correct, feedback.mistake) == (False, mistake.name)
    assert mistake.hint in str(feedback)


def test_the_six_mistakes_of_the_plan_are_known() -> None:
    known = {mistake.name for _, mistake in EVERY_MISTAKE}
    assert known >= {
        "forgot V", "bits for bytes", "ignored GQA", "whole context in a sliding layer", "GiB for GB",
        "divided the KV cache by the DP size",
    }  # fmt: skip


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.key)
def test_no_two_mistakes_and_no_mistake_and_the_truth_look_alike(exercise: Exercise) -> None:
    right = exercise.engine_bytes()
    sizes = [right, *(mistake.bytes() for mistake in (*exercise.mistakes, *unit_slips(right)))]
    pairs = [(a, b) for index, a in enumerate(sizes) for b in sizes[index + 1 :]]
    assert not [pair for pair in pairs if is_close(*pair)]


def test_gib_for_gb_is_the_answer_divided_by_the_larger_unit() -> None:
    slip = next(slip for slip in unit_slips(KV_CACHE.engine_bytes()) if slip.name == "GiB for GB")
    assert slip.bytes() / GB == pytest.approx(KV_CACHE.engine_bytes() / GIB)


@pytest.mark.parametrize("dots", [..., None])
def test_an_unfilled_answer_gets_a_gentle_hint(dots: object) -> None:
    feedback = check(KV_CACHE, dots)
    assert feedback.correct is None
    assert str(feedback).startswith("… Fill in your answer")


@pytest.mark.parametrize("answer", ["3.1", [], {}, object(), True, math.nan, math.inf, 10**400, 3j])
def test_an_answer_that_is_no_number_never_raises(answer: object) -> None:
    assert check(KV_CACHE, answer).correct is False


@pytest.mark.parametrize(("answer", "word"), [(0, "small"), (-1, "small"), (10**6, "large")])
def test_an_unknown_mistake_says_which_way(answer: float, word: str) -> None:
    feedback = check(KV_CACHE, answer)
    assert (feedback.correct, feedback.mistake) == (False, None)
    assert f"too {word}" in feedback.sentence


def test_with_solutions_the_reference_replaces_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_SOLUTIONS", "1")
    assert check(KV_CACHE, ...).correct


def test_with_solutions_a_wrong_reference_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_SOLUTIONS", "1")
    wrong = dataclasses.replace(KV_CACHE, solution_bytes=lambda: KV_CACHE.engine_bytes() / 2)
    with pytest.raises(AssertionError, match="kv_cache"):
        check(wrong, ...)


def test_a_check_that_breaks_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = dataclasses.replace(KV_CACHE, engine_bytes=lambda: 1 / 0)
    assert "could not be read" in check(broken, 3.1).sentence
    with pytest.raises(ZeroDivisionError):
        judge(broken, 3.1)
