"""The calculator follows its controls and answers a bad value with a sentence."""

import re
from html import unescape

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import load_gpus
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS
from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.units import format_gb
from workshop_utils.widgets.calculator import Calculator


def total(calculator: Calculator) -> str:
    found = re.search(r'class="workshop-calculator-total">([^<]+)<', calculator.html)
    assert found, calculator.html[-400:]
    return found[1]


def words(calculator: Calculator) -> str:
    return unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", calculator.html, flags=re.DOTALL))


def test_the_total_is_the_engines_and_is_called_a_lower_bound() -> None:
    calculator = Calculator("gemma-3-4b", tokens=131_072)
    result = calculator.estimate()
    assert total(calculator) == format_gb(result.process_bytes)
    assert "at least" in words(calculator)
    for missing in result.not_counted:
        assert missing in words(calculator)


def test_every_term_shows_its_formula_source_and_certainty() -> None:
    calculator = Calculator("gemma-3-27b")
    for term in calculator.estimate().per_gpu[0].terms:
        for text in (term.name, term.formula, term.source, term.certainty):
            assert text in words(calculator)


def test_moving_the_slider_moves_the_number() -> None:
    calculator = Calculator("gemma-3-4b", tokens=131_072)
    before = total(calculator)
    calculator.slider.value = 2**13
    assert calculator.tokens.value == 8192
    assert total(calculator) != before


def test_a_typed_number_is_not_rounded_to_the_sliders_steps() -> None:
    calculator = Calculator()
    calculator.tokens.value = 12_345
    assert (calculator.tokens.value, calculator.slider.value) == (12_345, 2.0**13.5)
    calculator.slider.value = 11_585.237  # what a browser makes of that step and sends back
    assert calculator.tokens.value == 12_345
    calculator.slider.value = 2.0**13.75
    assert calculator.tokens.value == round(2**13.75)
    calculator.tokens.value = 5_000_000  # beyond the slider
    assert (calculator.tokens.value, calculator.slider.value) == (5_000_000, 2.0**20)
    assert calculator.estimate().workload.tokens == 5_000_000


@pytest.mark.parametrize("tokens", [0, -5, 10**12])
def test_a_bad_value_is_a_sentence_in_the_numbers_place(tokens: int) -> None:
    calculator = Calculator()
    calculator.tokens.value = tokens
    assert f"tokens {tokens} is out of range" in words(calculator)
    assert "workshop-calculator-total" not in calculator.html.replace(".workshop-calculator-total", "")
    calculator.tokens.value = 4096
    assert total(calculator)


def test_a_precision_that_a_model_cannot_have_is_a_sentence() -> None:
    calculator = Calculator("gemma-3-4b")
    calculator.dtype.value = "mxfp4"
    assert "has none; choose" in words(calculator)


def test_every_choice_of_every_list_gives_an_estimate_or_a_sentence() -> None:
    calculator = Calculator(tokens=4096)
    for model in catalogue_names():
        calculator.model.value = model
        for dtype in PRECISIONS:
            calculator.dtype.value = dtype
            try:
                expected = format_gb(calculator.estimate().process_bytes)
            except WorkshopError as error:
                expected = str(error)
            assert expected in words(calculator)


def test_quantised_weights_leave_the_cache_unless_it_is_quantised_too() -> None:
    calculator = Calculator("gemma-3-4b")
    cache = calculator.estimate().kv_cache_bytes
    calculator.dtype.value = "int4"
    assert calculator.estimate().kv_cache_bytes == cache
    calculator.kv_dtype.value = "int4"
    # Four bits and their scales; the newest tokens wait in full width.
    assert cache * KV_BITS["int4"] // KV_BITS["bfloat16"] < calculator.estimate().kv_cache_bytes < cache / 3


def test_each_gpu_of_the_catalogue_stands_there_with_a_verdict() -> None:
    calculator = Calculator("gemma-3-27b", tokens=4096)
    need = calculator.estimate().process_bytes
    for gpu in load_gpus():
        verdict = "may hold it" if gpu.usable_bytes >= need else "too small"
        assert re.search(rf"{re.escape(gpu.name)}\s+[\d.]+ GiB {verdict}", words(calculator)), gpu.name


def test_controls_are_labelled_and_a_page_without_widgets_is_readable() -> None:
    calculator = Calculator()
    controls = (calculator.model, calculator.dtype, calculator.kv_dtype, calculator.tokens, calculator.slider)
    assert all(control.description for control in (*controls, calculator.batch))
    bundle = calculator._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert total(calculator) in bundle["text/html"]
    assert bundle["text/plain"] == f"Calculator: gemma-3-4b, 131,072 tokens, batch 1: {total(calculator)}"
