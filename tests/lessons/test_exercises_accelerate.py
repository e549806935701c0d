"""The exercises of notebook 07: every known mistake is recognised by name, and the text gives the shapes."""

import re
from pathlib import Path

import nbformat
import pytest

from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.lessons.checks import is_close
from workshop_utils.lessons.exercises_accelerate import (
    COPY_SECONDS,
    HOST_GB,
    LAYERS_KEPT,
    LINK_GB_PER_S,
    MAX_GB,
    MODEL,
    head_values,
    layer_values,
)
from workshop_utils.lessons.number_checks import NumberExercise, Slip, check_number
from workshop_utils.lessons.quiz import load_quiz
from workshop_utils.lessons.two_h100 import load_runs, one
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

FOLDER = Path(__file__).parents[2] / "notebooks"
EXERCISES = (LAYERS_KEPT, COPY_SECONDS)
SLIPS = [(exercise, slip) for exercise in EXERCISES for slip in exercise.slips]
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.key)


@pytest.fixture(autouse=True)
def as_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKSHOP_SOLUTIONS", raising=False)


def text() -> str:
    notebook = nbformat.read(FOLDER / "07_accelerate.ipynb", as_version=4)
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize(("exercise", "slip"), SLIPS, ids=[f"{e.key}: {s.name}" for e, s in SLIPS])
def test_a_known_slip_is_named(exercise: NumberExercise, slip: Slip) -> None:
    feedback = check_number(exercise, slip.value())
    assert (feedback.correct, feedback.mistake) == (False, slip.name)


@every_exercise
def test_accelerate_and_the_formula_agree(exercise: NumberExercise) -> None:
    assert exercise.solution() == pytest.approx(exercise.engine(), rel=1e-6)
    assert check_number(exercise, exercise.engine()).correct
    assert check_number(exercise, ...).correct is None


@every_exercise
def test_no_two_slips_and_no_slip_and_the_truth_look_alike(exercise: NumberExercise) -> None:
    values = [exercise.engine(), *(slip.value() for slip in exercise.slips)]
    assert not [(a, b) for i, a in enumerate(values) for b in values[i + 1 :] if is_close(a, b)]


@every_exercise
def test_solutions_replace_the_dots(exercise: NumberExercise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_SOLUTIONS", "1")
    assert check_number(exercise, ...).correct


def test_no_hint_of_one_exercise_gives_the_other_away() -> None:
    kept = int(LAYERS_KEPT.engine())
    for away in (kept, len(find_architecture(MODEL).layers) - kept):
        shown = text() + COPY_SECONDS.hint + LAYERS_KEPT.hint
        assert not re.search(rf"\b{away}\b", shown)


def test_the_notebook_gives_the_shapes_that_it_asks_for() -> None:
    shape = find_architecture(MODEL)
    assert f"{len(shape.layers)} layers of {layer_values():,} parameters" in text()
    assert f"embedding and head of {head_values():,} each" in text()
    assert f'max_memory={{0: "{MAX_GB}GB", "cpu": "{HOST_GB}GB"}}' in text()
    assert f"{LINK_GB_PER_S} GB/s" in text()
    total = 2 * count_parameters(shape).total
    assert f"a model of {total / 1e9:.0f} GB" in text()
    small = 4 * count_parameters(find_architecture("smollm2-135m")).total
    assert f"{small / 1e6:.0f} MB of weights" in text()
    bandwidth = find_gpu("H100-80GB").bandwidth_gb_per_s
    assert f"{bandwidth:,g} GB/s: all {total / 1e9:.0f} GB would take it" in COPY_SECONDS.explanation
    assert f"{total / 1e9 / bandwidth:.2f} s" in COPY_SECONDS.explanation


def test_the_quiz_quotes_the_recordings() -> None:
    runs = [run for run in load_runs(FOLDER / "recorded") if run.settings["model"] == "mistral-small-24b"]
    split = one(runs, engine="transformers, eager", strategy="layers", tokens=4096)
    alone = one(runs, engine="transformers, eager", strategy="none", tokens=4096)
    choices = [choice for question in load_quiz("accelerate").questions for choice in question.choices]
    assert any(f"{split} against {alone} tokens/s" in choice.why for choice in choices)
