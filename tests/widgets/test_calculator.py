"""The calculator follows its controls, and answers a bad value with a sentence above the last result."""

import asyncio
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import load_gpus
from workshop_utils.memory.largest import largest_batch, largest_tokens
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS
from workshop_utils.memory.workload import engine_names, find_engine
from workshop_utils.models.catalogue import CONFIGS, catalogue_names, load_catalogue
from workshop_utils.models.find import find_architecture
from workshop_utils.units import format_gb
from workshop_utils.widgets.calculator import STALE, WAITING, Calculator
from workshop_utils.widgets.controls import OTHER_MODEL
from workshop_utils.widgets.slider_names import SliderNames

SMALL = "smollm2-135m"


def total(calculator: Calculator) -> str:
    found = re.search(r'class="workshop-calculator-total">([^<]+)<', calculator.html)
    assert found, calculator.html[-400:]
    return found[1]


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)).split())


def words(calculator: Calculator) -> str:
    return plain(calculator.html)


def greyed(calculator: Calculator) -> bool:
    return STALE in calculator.results._dom_classes


def type_size(calculator: Calculator, size: str, value: str) -> None:
    calculator.controls.sizes[f"{size}_parallel"].value = value


def test_the_total_is_the_engines() -> None:
    calculator = Calculator("gemma-3-4b", tokens=131_072)
    result = calculator.estimate()
    assert total(calculator) == format_gb(result.process_bytes)
    assert not result.not_counted
    assert "at least" not in words(calculator)


def test_only_a_lower_bound_is_called_one() -> None:
    calculator = Calculator("flan-t5-base", tokens=4096)
    assert calculator.estimate().not_counted
    assert f"at least {total(calculator)}" in words(calculator)
    for missing in calculator.estimate().not_counted:
        assert missing in words(calculator)


def test_moving_the_slider_moves_the_number() -> None:
    calculator = Calculator("gemma-3-4b", tokens=131_072)
    before = total(calculator)
    calculator.controls.tokens.slider.value = 2**13
    assert calculator.estimate().workload.tokens == 8192
    assert total(calculator) != before


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("0", "tokens 0 is out of range; give a whole number from 1"),
        ("-3", "tokens -3 is out of range; give a whole number from 1"),
        ("12k", "tokens '12k' is not a whole number; write it in digits, for example 131072"),
        ("", "tokens '' is not a whole number"),
        (str(10**12), f"tokens {10**12} is out of range"),
    ],
)
def test_a_bad_number_is_a_sentence_above_the_last_result_in_grey(typed: str, sentence: str) -> None:
    calculator = Calculator(SMALL, tokens=2048)
    before = total(calculator)
    calculator.controls.tokens.field.value = typed
    assert sentence in plain(calculator.message.value)
    assert f"Below in grey is the last result: {SMALL}, 2,048 tokens, batch 1." in words(calculator)
    assert (greyed(calculator), total(calculator)) == (True, before)
    calculator.controls.tokens.field.value = "4096"
    assert (greyed(calculator), calculator.message.value) == (False, "")
    assert total(calculator) != before


def test_a_layout_that_a_model_cannot_have_is_the_engines_sentence() -> None:
    calculator = Calculator("gemma-3-27b", tokens=4096)
    type_size(calculator, "tensor", "3")
    with pytest.raises(WorkshopError) as error:
        calculator.estimate()
    assert str(error.value) in plain(calculator.message.value)
    assert greyed(calculator)
    type_size(calculator, "tensor", "two")
    assert "tensor parallel size 'two' is not a whole number" in plain(calculator.message.value)
    type_size(calculator, "tensor", "2")
    assert "2 GPUs (DP 1 × PP 1 × TP 2)" in words(calculator)
    assert not greyed(calculator)


def test_an_unknown_model_is_a_sentence_even_as_the_first() -> None:
    calculator = Calculator("gemma-3-5b")
    assert "no model 'gemma-3-5b' in the catalogue" in plain(calculator.message.value)
    assert calculator._repr_mimebundle_()["text/plain"] == "Calculator: nothing yet"
    calculator.controls.model.value = SMALL
    assert calculator.message.value == ""
    assert total(calculator)


def test_a_model_of_the_readers_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_bytes(Path(CONFIGS, f"{SMALL}.json").read_bytes())
    hf_id = next(entry.hf_id for entry in load_catalogue() if entry.name == SMALL)
    calculator = Calculator(SMALL, tokens=2048)
    assert calculator.controls.other_model.layout.display == "none"
    before = total(calculator)
    calculator.controls.model.value = OTHER_MODEL
    assert calculator.controls.other_model.layout.display is None
    assert "the field Other model is empty" in plain(calculator.message.value)
    for text in (
        str(tmp_path / "mine"),
        str(tmp_path / "mine" / "config.json"),
        hf_id,
    ):
        calculator.controls.other_model.value = text
        assert calculator.message.value == ""
        assert total(calculator) == before
    assert Calculator(str(tmp_path / "mine"), tokens=2048).estimate().model == "mine"


def test_every_engine_offers_its_own_attention_and_follows_the_controls() -> None:
    calculator = Calculator(SMALL, tokens=2048, gpu="H100-80GB")
    for engine in (*engine_names(), *reversed(engine_names())):
        calculator.controls.engine.value = engine
        offered = calculator.controls.attention.options
        assert offered == find_engine(engine).ATTENTION
        for attention in offered:
            calculator.controls.attention.value = attention
            assert calculator.message.value == ""
            assert f"{engine} with {attention}, one GPU" in words(calculator)


def test_an_engines_sentence_names_controls_and_no_options() -> None:
    calculator = Calculator(SMALL, tokens=2048)
    calculator.controls.engine.value = "vllm"
    assert "name one with the list GPU type" in plain(calculator.message.value)
    calculator.controls.gpu.value = "L4"
    assert calculator.message.value == ""
    assert "✓ vLLM starts on L4" in words(calculator)


def test_every_choice_of_every_list_gives_an_estimate_or_a_sentence() -> None:
    calculator = Calculator(tokens=4096)
    for model in catalogue_names():
        calculator.controls.model.value = model
        for dtype in ("bfloat16", "nf4", "mxfp4", "Q4_K_M"):
            calculator.controls.dtype.value = dtype
            check_shown(calculator)
    calculator.controls.model.value = SMALL
    for dtype in PRECISIONS:
        calculator.controls.dtype.value = dtype
        check_shown(calculator)


def check_shown(calculator: Calculator) -> None:
    try:
        expected = format_gb(calculator.estimate().process_bytes)
    except WorkshopError as error:
        assert str(error) in plain(calculator.message.value)
        return
    assert (total(calculator), calculator.message.value) == (expected, "")


def test_quantised_weights_leave_the_cache_unless_it_is_quantised_too() -> None:
    calculator = Calculator("gemma-3-4b")
    cache = calculator.estimate().kv_cache_bytes
    calculator.controls.dtype.value = "int4"
    assert calculator.estimate().kv_cache_bytes == cache
    calculator.controls.kv_dtype.value = "int4"
    # Four bits and their scales; the newest tokens wait in full width.
    assert cache * KV_BITS["int4"] // KV_BITS["bfloat16"] < calculator.estimate().kv_cache_bytes < cache / 3


def test_without_a_gpu_type_each_one_of_the_catalogue_has_a_verdict() -> None:
    calculator = Calculator("gemma-3-27b", tokens=32_768)
    result, shown = calculator.estimate(), plain(calculator._gpus.value)
    for gpu in load_gpus():
        sign = "✓" if result.fits(gpu) else "✗"
        assert re.search(rf"{re.escape(gpu.name)} [\d.]+ GiB {sign}", shown), (gpu.name, shown)
    assert "worked out" not in shown
    calculator.controls.gpu.value = "H200"
    assert plain(calculator._gpus.value) == ""


@pytest.mark.parametrize("gpu", ["A100-80GB", "A100-40GB"])
def test_the_verdict_on_the_chosen_type(gpu: str) -> None:
    calculator = Calculator("gemma-3-27b", tokens=32_768, gpu=gpu)
    result = calculator.estimate()
    assert result.gpu
    assert ("✓ Fits on" in words(calculator)) == result.fits(result.gpu)
    assert ("✗ Does not fit on" in words(calculator)) != result.fits(result.gpu)


def test_the_largest_that_fits_are_those_of_the_search() -> None:
    calculator = Calculator("gemma-3-4b", tokens=16_384, gpu="L40S")
    architecture, gpu = find_architecture("gemma-3-4b"), next(g for g in load_gpus() if g.name == "L40S")
    longest = largest_tokens(architecture, gpu, architecture.max_positions or 0)
    fullest = largest_batch(architecture, gpu, 4096, tokens=16_384)
    shown = plain(calculator._largest.value)
    assert f"Longest context on L40S at batch 1: {longest:,} tokens" in shown
    assert f"Largest batch on L40S at 16,384 tokens: {fullest:,} sequences" in shown
    type_size(calculator, "pipeline", "2")
    assert plain(calculator._largest.value) != shown
    calculator.controls.gpu.value = ""
    assert "Choose a GPU type" in plain(calculator._largest.value)


def spreading(model: str = "mixtral-8x7b", **sizes: str) -> Calculator:
    """Return a calculator for vLLM on H200s with the box for whole experts checked."""
    calculator = Calculator(model, tokens=8192, gpu="H200")
    calculator.controls.experts.value = True
    calculator.controls.engine.value = "vllm"
    for size, value in sizes.items():
        type_size(calculator, size, value)
    return calculator


def offers_experts(calculator: Calculator) -> bool:
    return calculator.controls.experts.layout.display != "none"


def test_whole_experts_are_offered_to_mixtures_in_vllm_on_several_ranks_only() -> None:
    calculator = spreading()
    assert not offers_experts(calculator)
    for size in ("tensor", "data"):
        type_size(calculator, size, "4")
        assert offers_experts(calculator)
        assert calculator.estimate().workload.expert_ranks == 4
        type_size(calculator, size, "1")
        assert not offers_experts(calculator)
    type_size(calculator, "pipeline", "2")
    assert not offers_experts(calculator)
    type_size(calculator, "tensor", "2")
    assert offers_experts(calculator)
    # Where it is not offered, it says nothing; what was chosen is kept.
    calculator.controls.engine.value = "transformers"
    assert not offers_experts(calculator)
    assert (calculator.message.value, calculator.estimate().workload.expert_parallel) == ("", False)
    calculator.controls.engine.value = "vllm"
    assert offers_experts(calculator)
    assert calculator.estimate().workload.expert_ranks == 2
    calculator.controls.model.value = "llama-3.1-8b"
    assert not offers_experts(calculator)
    assert (calculator.message.value, calculator.estimate().workload.expert_parallel) == ("", False)


def test_whole_experts_show_the_gpus_that_differ() -> None:
    calculator = spreading(data="3")
    result = calculator.estimate()
    assert "3 GPUs (DP 3 × PP 1 × TP 1, EP 3)" in words(calculator)
    for gpus, rank in (("GPUs 0, 1", result.per_gpu[0]), ("GPU 2", result.per_gpu[2])):
        sizes = (rank.bytes_of("weights"), rank.bytes_of("kv_cache"), rank.process_bytes)
        assert f"{gpus} {' '.join(map(format_gb, sizes))}" in words(calculator)
    type_size(calculator, "data", "4")
    assert "All 4 GPUs hold the same." in words(calculator)
    calculator.controls.experts.value = False
    assert "What each GPU holds" not in words(calculator)


def test_whole_experts_count_for_the_largest_that_fits() -> None:
    calculator = spreading("deepseek-v3", data="8")
    calculator.controls.dtype.value = "fp8"
    assert "✓ vLLM starts" in words(calculator)
    assert "Longest context on H200 at batch 1: 163,840 tokens" in words(calculator)
    calculator.controls.experts.value = False
    assert "No context at all fits" in words(calculator)


def test_more_ranks_than_experts_are_the_engines_sentence() -> None:
    calculator = spreading(data="16")
    assert "are more than the 8 experts of mixtral-8x7b; give at most 8" in plain(calculator.message.value)
    assert greyed(calculator)
    cut = spreading("deepseek-v3", data="1", tensor="32")
    cut.controls.dtype.value = "fp8"
    assert cut.message.value == ""
    cut.controls.experts.value = False
    assert "or spread whole experts (the box Whole experts)" in plain(cut.message.value)


def test_side_by_side_shows_every_rank_or_the_reason() -> None:
    calculator = Calculator("gemma-3-27b", tokens=8192, gpu="A100-80GB")
    calculator.count.value = 8
    assert calculator._columns.value.count('class="rank"') == 24
    calculator.controls.model.value = SMALL  # of three KV heads and nine query heads
    assert calculator._columns.value.count('class="rank"') == 16
    assert "tensor parallel size 8 does not fit" in plain(calculator._columns.value)
    calculator.count.value = 1
    assert calculator._columns.value.count('class="rank"') == 1


def test_switches_show_the_slides_rule_and_open_every_row() -> None:
    calculator = Calculator(SMALL, tokens=2048)
    assert "slide" not in words(calculator).lower()
    assert '<details class="term" open>' not in calculator.html
    calculator.slide.value = calculator.opened.value = True
    assert "The slide's rule beside it" in words(calculator)
    assert '<details class="term">' not in calculator.html
    calculator.slide.value = False
    assert "slide" not in words(calculator).lower()


def test_a_drag_gets_the_quick_part_at_once_and_the_rest_when_it_rests() -> None:
    async def kernel() -> None:
        calculator = Calculator("gemma-3-4b", tokens=16_384, gpu="L40S")
        before, quick = calculator._largest.value, calculator._estimate.value
        calculator.controls.tokens.slider.value = 2**15
        assert calculator._estimate.value != quick
        assert calculator._largest.value == before
        assert WAITING in calculator._largest._dom_classes
        for _ in range(400):
            await asyncio.sleep(0.02)
            if WAITING not in calculator._largest._dom_classes:
                break
        assert calculator._largest.value != before
        assert "32,768 tokens" in calculator._largest.value

    asyncio.run(kernel())


def test_controls_are_labelled_and_a_page_without_widgets_is_readable() -> None:
    calculator = Calculator()
    controls: Any = calculator.controls
    for control in (
        controls.model, controls.other_model, controls.tokens.field, controls.tokens.slider,
        controls.batch.field, controls.batch.slider, controls.dtype, controls.kv_dtype, controls.engine,
        controls.attention, controls.gpu, *controls.sizes.values(), controls.experts, calculator.slide,
        calculator.opened, calculator.count,
    ):  # fmt: skip
        assert control.description
    # ipywidgets names no slider's handle; without this widget axe finds that.
    assert any(isinstance(child, SliderNames) for child in controls.box.children)
    assert "<th></th>" not in calculator.html
    bundle = calculator._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert total(calculator) in bundle["text/html"]
    assert bundle["text/plain"] == f"Calculator: gemma-3-4b, 131,072 tokens, batch 1: {total(calculator)}"
