"""The ledger keeps predictions on the reader's disk and survives whatever happens to its file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from workshop_utils.lessons.ledger import Ledger, as_number

QUESTION = ("q", "How much?", 10.0, "GB")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("WORKSHOP_SOLUTIONS", raising=False)
    return tmp_path / "ledger.json"


def test_a_prediction_and_its_measurement_are_kept_for_the_next_notebook(file: Path) -> None:
    assert "Noted: 10 GB" in Ledger(file).predict(*QUESTION)
    assert "(-50 %)" in Ledger(file).measure("q", 20.0, "GB")
    entry = Ledger(file).entries()["q"]
    assert (entry.predicted, entry.measured, entry.error_percent) == (10.0, 20.0, -50.0)
    assert "-50 %" in repr(Ledger(file).table())
    assert os.listdir(file.parent) == [file.name]


def test_a_prediction_may_be_changed_until_the_answer_is_known(file: Path) -> None:
    ledger = Ledger(file)
    ledger.predict(*QUESTION)
    ledger.predict("q", "How much?", 12.0, "GB")
    ledger.measure("q", 20.0, "GB")
    assert "stands" in ledger.predict("q", "How much?", 20.0, "GB")
    assert ledger.entries()["q"].predicted == 12.0


def test_what_was_only_computed_is_never_called_measured(file: Path) -> None:
    ledger = Ledger(file)
    assert ledger.measure("q", 20.0, "GB", computed=True).startswith("Computed, not measured: 20 GB.")
    ledger.predict(*QUESTION)
    assert "10 GB; computed, not measured: 20 GB (-50 %)" in ledger.measure("q", 20.0, "GB", computed=True)
    assert ledger.table().rows[0][2] == "20 GB (computed)"
    ledger.measure("q", 20.0, "GB")
    assert ledger.table().rows[0][2] == "20 GB"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (..., "in place of the dots"),
        (None, "in place of the dots"),
        ("ten", "'ten' is no number"),
        (float("nan"), "nan is no number"),
        (True, "True is no number"),
        (-1, "-1 GB cannot be"),
        (0, "0 GB cannot be"),
    ],
)
def test_what_is_no_prediction_is_asked_for_again_and_not_kept(file: Path, value: object, words: str) -> None:
    assert words in Ledger(file).predict("q", "How much?", value, "GB")
    assert not file.exists()


def test_running_every_cell_untouched_writes_nothing(file: Path) -> None:
    assert Ledger(file).measure("q", 20.0, "GB") == "Measured: 20 GB. (No prediction was made.)"
    assert "No prediction yet" in repr(Ledger(file).table())
    assert not file.exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"q": 1}', '{"q": {"surprise": 1}}', '"text"', "\x00"])
def test_a_corrupt_file_is_set_aside_never_an_exception(file: Path, content: str) -> None:
    file.write_text(content, encoding="utf-8")
    ledger = Ledger(file)
    assert ledger.entries() == {}
    ledger.predict(*QUESTION)
    assert ledger.entries()["q"].predicted == 10.0
    assert file.with_name("ledger.json.unreadable").read_text(encoding="utf-8") == content


def test_a_file_that_is_no_utf8_is_set_aside(file: Path) -> None:
    file.write_bytes(b"\xff\xfe{}")
    Ledger(file).predict(*QUESTION)
    assert list(Ledger(file).entries()) == ["q"]


def test_a_folder_that_cannot_be_written_costs_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Noted" in Ledger(tmp_path / "missing" / "ledger.json").predict(*QUESTION)
    assert "could not be kept" in capsys.readouterr().out


def test_with_solutions_nothing_is_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_SOLUTIONS", "1")
    Ledger(file).predict(*QUESTION)
    assert not file.exists()


def test_the_file_is_plain_json(file: Path) -> None:
    Ledger(file).predict(*QUESTION)
    assert json.loads(file.read_text(encoding="utf-8"))["q"]["unit"] == "GB"


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), (2.5, 2.5), ("3", None), (False, None), (10**400, None), (np.int64(7), 7.0)],
)
def test_as_number(value: object, number: float | None) -> None:
    assert as_number(value) == number
