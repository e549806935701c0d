"""A script of a lesson, shown in the notebook that runs it."""

from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).with_name("scripts")


@dataclass(frozen=True, repr=False)
class Script:
    """A Python file that ``launch()`` runs; as the last line of a cell it shows its text."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"`{self.path.name}`\n```python\n{self.text}```"


def script(name: str) -> Script:
    """Return the script of a lesson by its name, as in ``replica.py``."""
    return Script(SCRIPTS / name)
