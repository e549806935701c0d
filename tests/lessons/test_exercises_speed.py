"""The exercises of notebooks 03 and 06: right answers are right, every known mistake is named."""

import pytest

from workshop_utils.lessons.checks import Exercise, Mistake, check, is_close, unit_slips
from workshop_utils.lessons.exercises_one_gpu import BANDWIDTH, RATE_MODEL, STEP_BYTES, STEP_MODEL
from workshop_utils.lessons.exercises_tensor import BYTES_SENT, SENT_MODEL, SHARE, SHARE_MODEL
from workshop_utils.models.find import find_architecture
from workshop_utils.units import GB

EXERCISES = (STEP_BYTES, BANDWIDTH, BYTES_SENT, SHARE)
EVERY_MISTAKE = [
    (exercise, mistake)
    for exercise in EXERCISES
    for mistake in (*exercise.mistakes, *unit_slips(exercise.engine_bytes()))
]


@pytest.fixture(autouse=True)
def as_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKSHOP_SOLUTIONS", raising=False)


@pytest.mark.parametrize("exercise", (STEP_BYTES, BANDWIDTH, BYTES_SENT), ids=lambda one: one.key)
def test_the_engine_and_the_solution_by_hand_agree_to_the_byte(exercise: Exercise) -> None:
    assert exercise.solution_bytes() == exercise.engine_bytes()


def test_the_share_by_hand_leaves_out_only_the_copies_of_k_and_v_projections_and_norms() -> None:
    difference = SHARE.engine_bytes() - SHARE.solution_bytes()
    assert 0 < difference < 0.006 * SHARE.engine_bytes()


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.key)
def test_a_rounded_right_answer_is_right(exercise: Exercise) -> None:
    assert check(exercise, round(exercise.solution_bytes() / GB, 1)).correct


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.key)
def test_with_solutions_the_reference_is_accepted(
    exercise: Exercise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_SOLUTIONS", "1")
    assert check(exercise, ...).correct


@pytest.mark.parametrize(
    ("exercise", "mistake"), EVERY_MISTAKE, ids=[f"{e.key}: {m.name}" for e, m in EVERY_MISTAKE]
)
def test_a_known_mistake_is_named(exercise: Exercise, mistake: Mistake) -> None:
    feedback = check(exercise, mistake.bytes() / GB)
    assert (feedback.correct, feedback.mistake) == (False, mistake.name)
    assert mistake.hint in str(feedback)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.key)
def test_no_two_mistakes_and_no_mistake_and_the_truth_look_alike(exercise: Exercise) -> None:
    right = exercise.engine_bytes()
    sizes = [right, *(mistake.bytes() for mistake in (*exercise.mistakes, *unit_slips(right)))]
    pairs = [(a, b) for index, a in enumerate(sizes) for b in sizes[index + 1 :]]
    assert not [pair for pair in pairs if is_close(*pair)]


def test_the_models_have_heads_and_embeddings_of_their_own() -> None:
    # A tied head is read whole, and then nothing could be left out.
    for model in (STEP_MODEL, RATE_MODEL, SENT_MODEL, SHARE_MODEL):
        assert not find_architecture(model).tied_embeddings
