"""A three-question quiz in which every choice is explained; without widgets it folds out as plain HTML."""

import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.fallback import with_fallback

SIGNS = {True: "✓", False: "✗"}


@dataclass(frozen=True)
class Choice:
    """One choice and why it is right or wrong."""

    text: str
    why: str
    right: bool = False

    @property
    def explanation(self) -> str:
        return f"{SIGNS[self.right]} {'Yes' if self.right else 'No'}. {self.why}"


@dataclass(frozen=True)
class Question:
    """A question with its choices, exactly one of them right."""

    text: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, repr=False)
class Quiz:
    """Shows itself: a widget in JupyterLab, ``details`` elements in HTML, an indented list as text."""

    questions: tuple[Question, ...]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return with_fallback(quiz_widget(self.questions), self._html(), repr(self))

    def __repr__(self) -> str:
        lines = []
        for number, question in enumerate(self.questions, 1):
            lines.append(f"{number}. {question.text}")
            lines += [f"   - {choice.text}\n     {choice.explanation}" for choice in question.choices]
        return "\n".join(lines)

    def _html(self) -> str:
        blocks = []
        for number, question in enumerate(self.questions, 1):
            folded = "".join(
                f"<details><summary>{escape(choice.text)}</summary><p>{escape(choice.explanation)}</p></details>"
                for choice in question.choices
            )
            blocks.append(f"<p><strong>{number}. {escape(question.text)}</strong></p>{folded}")
        return "".join(blocks)


def load_quiz(name: str) -> Quiz:
    """Return the quiz called ``name`` from ``quizzes.toml``; WorkshopError with the names there are."""
    with Path(__file__).with_name("quizzes.toml").open("rb") as file:
        quizzes = tomllib.load(file)
    if name not in quizzes:
        raise WorkshopError(f"no quiz is called {name!r}; choose one of {', '.join(quizzes)}.")
    return Quiz(
        tuple(
            Question(entry["question"], tuple(Choice(**choice) for choice in entry["choice"]))
            for entry in quizzes[name]
        )
    )


def quiz_widget(questions: tuple[Question, ...]) -> Any:
    """Return the quiz as one widget: Tab moves between questions, arrow keys choose."""
    import ipywidgets

    return ipywidgets.VBox(
        [question_widget(f"{number}. ", question) for number, question in enumerate(questions, 1)]
    )


def question_widget(number: str, question: Question) -> Any:
    """Return one question; choosing shows why the choice is right or wrong, as often as the reader likes."""
    import ipywidgets

    choices = ipywidgets.RadioButtons(
        options=[(choice.text, choice) for choice in question.choices],
        index=None,
        layout={"width": "auto"},
    )
    choices.add_class("workshop-quiz-choices")
    answer = ipywidgets.HTML()

    def explain(change: dict[str, Any]) -> None:
        # role="status": a screen reader reads the explanation out.
        answer.value = (
            f'<div role="status" class="workshop-quiz-answer">{escape(change["new"].explanation)}</div>'
        )

    choices.observe(explain, names="value")
    title = ipywidgets.HTML(f"<strong>{number}{escape(question.text)}</strong>")
    return ipywidgets.VBox([title, choices, answer], layout={"margin": "0 0 12px 0"})
