"""Notebook 03: FLOP and bytes of a pass, its limit, and the figure of recorded engines."""

from dataclasses import replace
from pathlib import Path

import pytest

from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.lessons import one_gpu
from workshop_utils.lessons.one_gpu import (
    NEW_TOKENS,
    Machine,
    Pass,
    Timed,
    decode_figure,
    decode_limit,
    phases_table,
    roofline_table,
    step_bytes,
    time_generate,
)
from workshop_utils.lessons.two_h100 import load_runs
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
SMOL = find_architecture("smollm2-135m")
PARAMETERS = count_parameters(SMOL).total
MACHINE = Machine("a machine", "float32", 20e9, 100e9)


def timed(prompt: int, batch: int = 1) -> Timed:
    return Timed(prompt, batch, 1.0, 0.1, SMOL, 4)


def test_a_decode_step_is_two_flop_a_parameter_and_reads_all_weights() -> None:
    step = timed(32).decode
    assert step.bytes == pytest.approx(4 * PARAMETERS, rel=0.01)
    assert step.flops == pytest.approx(2 * PARAMETERS, rel=0.02)
    assert step.intensity == pytest.approx(0.5, rel=0.02)


def test_a_batch_shares_the_weights_and_keeps_its_own_caches() -> None:
    one, eight = timed(32).decode, timed(32, batch=8).decode
    assert eight.flops == 8 * one.flops
    assert eight.bytes - one.bytes == 7 * (32 + NEW_TOKENS / 2) * 30 * 2 * 3 * 64 * 4


def test_a_prefill_computes_logits_for_its_last_token_only() -> None:
    prompt = timed(512).prefill
    head = SMOL.vocabulary_size * SMOL.hidden_size
    attention = 30 * 4 * 9 * 64 * 512 * 512 / 2
    assert prompt.flops == 2 * (PARAMETERS - head) * 512 + 2 * head + attention
    assert prompt.intensity > 200


def test_the_roof_is_the_lower_of_slope_and_peak() -> None:
    assert Pass("slope", 1e9, 1e9, 1).limit(MACHINE) == 20e9
    assert Pass("roof", 100e9, 1e9, 1).limit(MACHINE) == 100e9


def test_tables_say_what_was_measured_where() -> None:
    table = phases_table([timed(32), timed(512), timed(32, batch=8)])
    assert [row[0] for row in table.rows] == ["1 × 32", "1 × 512", "8 × 32"]
    assert table.rows[2][1:] == ("1000", "256", "100.0", "80")
    assert "measured here" in table.caption
    row = roofline_table([Pass("one", 2e9, 1e9, 0.1)], MACHINE).rows[0]
    assert row == ("one", "2.00", "1.00", "2.0", "20.0", "50%")
    small = roofline_table([Pass("one", 2e9, 1e9, 20.0)], MACHINE).rows[0]
    assert small[-1] == "0.2%"  # a large GPU and a small model: not 0


def test_a_step_reads_all_but_an_embedding_of_its_own() -> None:
    llama = find_architecture("llama-3.1-8b")
    table = llama.vocabulary_size * llama.hidden_size
    assert step_bytes(llama) == 2 * (count_parameters(llama).total - table)
    assert step_bytes(SMOL, "float32") == 4 * PARAMETERS  # its head is its embedding


def test_an_h100_cannot_decode_llama_8b_faster_than_223_tokens_a_second() -> None:
    assert round(decode_limit(find_architecture("llama-3.1-8b"), find_gpu("H100-80GB"))) == 223


def test_the_figure_shows_every_engine_recorded_on_one_gpu_and_later_ones_by_themselves() -> None:
    runs = load_runs(RECORDED)
    eager = next(run for run in runs if run.settings["engine"] == "transformers, eager")
    ours = replace(eager, settings={**eager.settings, "engine": "ours"})
    picture = decode_figure([*runs, ours], "llama-3.1-8b", "H100-80GB", "a title")
    (axes,) = picture.figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(labels) == [
        "gpt-fast", "ours", "this workshop", "transformers, compiled", "transformers, eager",
        "transformers, eager, same loop", "vLLM",
    ]  # fmt: skip
    assert labels[-1] == "this workshop"  # the fastest
    assert "41.6  (19%)" in [text.get_text() for text in axes.texts]
    assert "date not noted" in repr(picture)


@pytest.mark.slow
def test_the_small_model_is_timed(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_gpu, "NEW_TOKENS", 3)
    run = time_generate(one_gpu.load_small_model(), prompt=8, batch=2)
    assert run.ttft_seconds > 0
    assert run.tpot_seconds > 0
    assert run.value_bytes == (4 if one_gpu.dtype_here() == "float32" else 2)
    assert run.shape.hidden_size == SMOL.hidden_size
