"""A number that is typed exactly or dragged over doublings."""

import math
from collections.abc import Callable
from typing import Any

import ipywidgets

from workshop_utils.errors import WorkshopError

WORDS = {"description_width": "104px"}
WIDE = {"width": "330px"}


class NumberControl:
    """A field that takes any whole number, and a slider beside it that goes in steps of a doubling.

    The field is one of text: a browser's number field drops ``12k`` without a word.
    """

    def __init__(
        self, label: str, value: int, *, powers: tuple[int, int], step: float = 1.0, example: str
    ) -> None:
        """Show ``value``; the slider goes from one power of two to another, ``step`` powers at a time.

        ``example`` is of a number in digits, for who types something else.
        """
        self._example = example
        self._name, self._powers, self._step = label.lower(), powers, step
        self.field = ipywidgets.Text(
            str(value), description=label, continuous_update=False, style=WORDS, layout=WIDE
        )
        self.slider = ipywidgets.FloatLogSlider(
            self.place(value), base=2, min=powers[0], max=powers[1], step=step, readout=False,
            description=f"{label} (log)", style=WORDS, layout=WIDE,
        )  # fmt: skip
        self.slider.observe(self._slider_moved, names="value")
        self.field.observe(self._typed, names="value")

    def number(self) -> int:
        """Return what stands in the field; WorkshopError where it is not a whole number."""
        return whole_number(self._name, self.field.value, self._example)

    def observe(self, changed: Callable[[Any], None]) -> None:
        self.field.observe(changed, names="value")

    def place(self, value: int) -> float:
        """Return where the slider stands for a number: its nearest step.

        The browser moves a handle that is between two steps and sends that place back as if chosen.
        """
        lowest, highest = self._powers
        power = min(max(math.log2(max(value, 1)), lowest), highest)
        return float(2 ** (self._step * round(power / self._step)))

    def _slider_moved(self, change: dict[str, Any]) -> None:
        try:
            # A typed number lies between two steps; the slider goes to the nearest and must not round it.
            if math.isclose(self.place(self.number()), change["new"], rel_tol=1e-6):
                return
        except WorkshopError:
            pass  # whatever is typed, the slider's place is a number
        self.field.value = str(round(change["new"]))

    def _typed(self, _change: Any) -> None:
        try:
            self.slider.value = self.place(self.number())
        except WorkshopError:
            return  # the slider stays; the calculator says what is wrong


def whole_number(name: str, text: str, example: str) -> int:
    """Return the number in ``text``; 131_072 and 131,072 are the same. WorkshopError for anything else."""
    try:
        return int(text.replace(",", ""))
    except ValueError:
        raise WorkshopError(
            f"{name} {text!r} is not a whole number; write it in digits, for example {example}."
        ) from None
