"""The reader's predictions beside what was measured: a small file next to the notebooks, theirs alone.

A measurement is kept only beside a prediction, so a reader who runs every cell untouched writes nothing.
"""

import json
import math
import os
from dataclasses import asdict, dataclass, replace
from numbers import Real
from pathlib import Path

from workshop_utils.lessons.table import Table

FILE = Path(".workshop-ledger.json")  # in the notebook's folder, which is a kernel's working folder
SET_ASIDE = ".unreadable"


@dataclass(frozen=True)
class Entry:
    """One question, the reader's prediction, and the measurement once there is one, in the same unit.

    ``computed``: nothing here could measure it, ``measured`` is what a formula gives.
    """

    question: str
    unit: str
    predicted: float
    measured: float | None = None
    computed: bool = False

    @property
    def error_percent(self) -> float | None:
        """How far the prediction is from the measurement, in percent of the measurement."""
        return None if not self.measured else 100 * (self.predicted - self.measured) / self.measured


class Ledger:
    """Keeps entries by key in one JSON file. A corrupt file is set aside, never an exception."""

    def __init__(self, file: Path = FILE) -> None:
        self._file = file

    def entries(self) -> dict[str, Entry]:
        """Return all entries, the oldest first."""
        try:
            rows = json.loads(self._file.read_text(encoding="utf-8"))
            return {key: Entry(**row) for key, row in rows.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def predict(self, key: str, question: str, value: object, unit: str) -> str:
        """Keep a prediction; an earlier one stays, because the answer may have been seen. Returns a reply."""
        number = as_number(value)
        if number is None and value not in (..., None):
            return f"{value!r} is no number; write your prediction as a number in {unit}, for example 12.3."
        if number is not None and number <= 0:
            return f"{number:g} {unit} cannot be; write a number above 0 and run this cell again."
        if number is None:
            return f"Write your prediction in place of the dots, a number in {unit}, and run this cell again."
        kept = self.entries().get(key)
        if kept is not None and kept.measured is not None:
            return f"Your prediction of {kept.predicted:g} {kept.unit} stands: the answer is known already."
        self._keep(key, Entry(question, unit, number))
        return f"Noted: {number:g} {unit}. We come back to it."

    def measure(self, key: str, value: float, unit: str, *, computed: bool = False) -> str:
        """Put the measurement beside the prediction, if there is one. Returns a reply.

        ``computed``: the value is no measurement, and is never called one.
        """
        kept = self.entries().get(key)
        word = "computed, not measured" if computed else "measured"
        if kept is None:
            return f"{word.capitalize()}: {value:.3g} {unit}. (No prediction was made.)"
        entry = replace(kept, measured=value, computed=computed)
        self._keep(key, entry)
        return (
            f"You predicted {entry.predicted:g} {entry.unit}; {word}: {value:.3g} {entry.unit} "
            f"({entry.error_percent:+.0f} %)."
        )

    def table(self) -> Table:
        """Return every prediction beside its measurement and error."""
        rows = [
            (
                entry.question,
                f"{entry.predicted:g} {entry.unit}",
                _measured_words(entry),
                "" if entry.error_percent is None else f"{entry.error_percent:+.0f} %",
            )
            for entry in self.entries().values()
        ]
        place = f"Kept in {self._file.name} beside the notebooks; delete it to start again."
        return Table(
            ("question", "you predicted", "measured", "error"),
            rows,
            place if rows else "No prediction yet: write one where a cell asks for it, and run the cell.",
        )

    def _keep(self, key: str, entry: Entry) -> None:
        if os.environ.get("WORKSHOP_SOLUTIONS") == "1":  # a test run is no reader
            return
        entries = self.entries()
        if not entries and self._file.exists():
            self._file.replace(self._file.with_name(self._file.name + SET_ASIDE))
        text = json.dumps({name: asdict(row) for name, row in {**entries, key: entry}.items()}, indent=1)
        beside = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            beside.write_text(text + "\n", encoding="utf-8")
            beside.replace(self._file)
        except OSError as error:
            print(f"The prediction could not be kept in {self._file.absolute().parent} ({error.strerror}).")


def _measured_words(entry: Entry) -> str:
    if entry.measured is None:
        return "not yet"
    return f"{entry.measured:.3g} {entry.unit}{' (computed)' if entry.computed else ''}"


def as_number(value: object) -> float | None:
    """Return a finite number as float, else None (``...``, None, text, a list)."""
    if isinstance(value, bool) or not isinstance(value, Real):  # Real: numpy's numbers count too
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
