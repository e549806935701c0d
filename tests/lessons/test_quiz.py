"""A quiz explains every choice, in a widget and without one."""

import tomllib
from pathlib import Path

import pytest

import workshop_utils.lessons
from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.quiz import load_quiz, quiz_widget

FILE = Path(workshop_utils.lessons.__file__).with_name("quizzes.toml")
NAMES = list(tomllib.loads(FILE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", NAMES)
def test_three_questions_with_one_right_choice_each_and_every_choice_explained(name: str) -> None:
    questions = load_quiz(name).questions
    assert len(questions) == 3
    for question in questions:
        assert [choice.right for choice in question.choices].count(True) == 1
        assert all(len(choice.why) > 40 for choice in question.choices)
        assert len({choice.text for choice in question.choices}) == len(question.choices) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_choosing_shows_the_explanation_of_that_choice(name: str) -> None:
    questions = load_quiz(name).questions
    for question, widget in zip(questions, quiz_widget(questions).children, strict=True):
        _title, choices, answer = widget.children
        assert (choices.index, answer.value) == (None, "")
        for index, choice in enumerate(question.choices):
            choices.index = index
            assert ("Yes." if choice.right else "No.") in answer.value
            assert choice.why.split(":")[0].replace("'", "&#x27;") in answer.value


def test_without_widgets_it_is_readable() -> None:
    quiz = load_quiz("will_it_fit")
    bundle = quiz._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    for text in (bundle["text/html"], bundle["text/plain"]):
        assert text.count("✓ Yes") == 3
        assert text.count("✗ No") == 6
    assert bundle["text/html"].count("<details>") == 9


def test_an_unknown_quiz_is_one_sentence() -> None:
    with pytest.raises(WorkshopError, match="will_it_fit"):
        load_quiz("none")
