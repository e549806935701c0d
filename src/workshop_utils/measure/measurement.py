"""A measurement is never a bare number: values with units, and all that is needed to repeat it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError


@dataclass(frozen=True)
class Quantity:
    """One measured figure. ``unit`` is ``bytes``, ``seconds``, ``tokens/s`` … as the tool gave it."""

    value: float
    unit: str


@dataclass(frozen=True)
class Measurement:
    """What was measured (``values``), on what, how, with which versions, and when.

    ``settings`` is what was varied (model, batch, tokens). ``date`` (ISO 8601) and ``commit`` are None when
    nobody wrote them down. ``recorded`` is True for a measurement read from a file: it is not the reader's.
    """

    what: str
    values: Mapping[str, Quantity]
    command: str
    hardware: str
    versions: Mapping[str, str]
    date: str | None
    commit: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    recorded: bool = False

    def bytes_of(self, name: str) -> int:
        """Return the value called ``name`` in bytes; ``WorkshopError`` when there is none."""
        quantity = self.values.get(name)
        if quantity is None or quantity.unit != "bytes":
            known = ", ".join(key for key, value in self.values.items() if value.unit == "bytes")
            raise WorkshopError(f"the measurement of {self.what} has no byte count {name!r}; it has {known}.")
        return int(quantity.value)

    @property
    def label(self) -> str:
        """One line under a figure or table: whose measurement it is, where and with what it was taken."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        kind = "recorded" if self.recorded else "measured here"
        date = self.date[: len("2026-01-31")] if self.date else "date not noted"
        return f"{kind} on {self.hardware} with {versions}; {date}"


def save_measurements(path: Path, measurements: Iterable[Measurement]) -> None:
    """Write measurements as JSON; ``load_measurements`` reads them back as recorded ones."""
    rows = [{key: value for key, value in asdict(m).items() if key != "recorded"} for m in measurements]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def load_measurements(path: Path | str) -> tuple[Measurement, ...]:
    """Read recorded measurements: a JSON list, or with ``.jsonl`` one a line.

    A file that is missing or not ours is a ``WorkshopError``.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        lines = Path(path).suffix == ".jsonl"
        rows = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
        return tuple(_from_json(row) for row in rows)
    except OSError as error:
        raise WorkshopError(
            f"cannot read the recorded measurements {path} ({error.strerror}); "
            "run the notebook in its own folder."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WorkshopError(
            f"{path} holds no recorded measurements ({error}); copy the file anew."
        ) from error


def _from_json(row: dict[str, Any]) -> Measurement:
    values = {name: Quantity(**quantity) for name, quantity in row["values"].items()}
    return Measurement(**{**row, "values": values, "recorded": True})
