"""A typed number stays as typed; the slider follows it, and moves it."""

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.widgets.number_control import NumberControl, whole_number


def tokens(value: int = 131_072) -> NumberControl:
    return NumberControl("Tokens", value, powers=(8, 20), step=0.25, example="131072 for 128K")


def test_the_slider_moves_the_number() -> None:
    control = tokens()
    control.slider.value = 2**13
    assert (control.number(), control.field.value) == (8192, "8192")


def test_a_typed_number_is_not_rounded_to_the_sliders_steps() -> None:
    control = tokens()
    control.field.value = "12,345"
    assert (control.number(), control.slider.value) == (12_345, 2.0**13.5)
    control.slider.value = 11_585.237  # what a browser makes of that step and sends back
    assert control.field.value == "12,345"
    control.slider.value = 2.0**13.75
    assert control.number() == round(2**13.75)


def test_a_number_beyond_the_slider_is_kept() -> None:
    control = tokens()
    control.field.value = "5000000"
    assert (control.number(), control.slider.value) == (5_000_000, 2.0**20)
    control.field.value = "-3"
    assert (control.number(), control.slider.value) == (-3, 2.0**8)


@pytest.mark.parametrize("text", ["12k", "", "1.5", "1e5", "١٢x"])
def test_what_is_no_number_is_a_sentence_and_the_slider_gets_out_of_it(text: str) -> None:
    control = tokens()
    place = control.slider.value
    control.field.value = text
    with pytest.raises(WorkshopError, match="digits, for example 131072 for 128K") as error:
        control.number()
    assert repr(text) in str(error.value)
    assert control.slider.value == place
    control.slider.value = 2**10
    assert control.number() == 1024


def test_digits_in_groups_are_the_same_number() -> None:
    assert whole_number("tokens", " 131,072 ", "8") == whole_number("tokens", "131_072", "8") == 131_072
