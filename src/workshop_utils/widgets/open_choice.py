"""A list of choices whose last entry opens a field for any other."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from workshop_utils.errors import WorkshopError
from workshop_utils.widgets.number_control import WIDE, WORDS


class OpenChoice:
    """``list`` shows the choices; ``text`` is only shown for the last of them."""

    def __init__(
        self, name: str, choices: Sequence[str], value: str, *, placeholder: str, typed: str
    ) -> None:
        """Start with ``value``, listed or not; ``typed`` says at length what the field takes."""
        self._other, self._typed = choices[-1], typed
        known = choices[:-1]
        self.list = ipywidgets.Dropdown(
            options=choices, value=value if value in known else self._other, description=name, style=WORDS,
            layout=WIDE,
        )  # fmt: skip
        self.text = ipywidgets.Text(
            "" if value in known else value, description=f"Other {name.lower()}", continuous_update=False,
            placeholder=placeholder, style=WORDS, layout=dict(WIDE),
        )  # fmt: skip
        self._show_text()
        self.list.observe(self._show_text, names="value")

    def chosen(self) -> str:
        """Return the choice; WorkshopError where nothing is typed yet."""
        if self.list.value != self._other:
            return str(self.list.value)
        if not self.text.value.strip():
            raise WorkshopError(
                f"the field {self.text.description} is empty; type {self._typed}, then press Enter."
            )
        return str(self.text.value)

    def observe(self, changed: Callable[[Any], None]) -> None:
        for control in (self.list, self.text):
            control.observe(changed, names="value")

    def _show_text(self, _change: Any = None) -> None:
        self.text.layout.display = None if self.list.value == self._other else "none"
