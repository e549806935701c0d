"""A log that is pasted: the sentences of ``workshop read-log``, with fields in place of its options."""

import re
from html import unescape
from pathlib import Path

import pytest

from workshop_utils.memory.logs.comparison_text import amount
from workshop_utils.widgets.read_log import NOTHING, ReadLog
from workshop_utils.widgets.read_log_view import for_fields

LOGS = Path(__file__).parents[1] / "memory" / "logs"


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


def shown(reader: ReadLog) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", reader.result.value)).split())


def test_an_empty_field_says_what_to_paste() -> None:
    assert shown(ReadLog()) == NOTHING


def test_a_pasted_start_stands_beside_its_prediction() -> None:
    reader = ReadLog()
    reader.log.value = log("vllm-0.26-source")
    comparison = reader.comparison()
    assert comparison.question is not None
    text = shown(reader)
    for row in comparison.rows:
        assert f"{row.name} {amount(row.predicted, row)} {amount(row.actual, row)}" in text
    for piece in comparison.advice:
        assert f"{piece.option} {piece.value} : {piece.sentence}" in text


def test_what_the_log_leaves_out_is_asked_for_by_the_fields_that_take_it() -> None:
    reader = ReadLog(log("torch-2.8-sdpa"))
    assert "add Model (the log names none that is known), Tokens (prompt and answer" in shown(reader)
    reader.model.value, reader.numbers["tokens"].value = "qwen3-0.6b", "16384"
    assert shown(reader).startswith("transformers, qwen3-0.6b in bfloat16 at 16,384 tokens, batch 1")
    assert "batch 1 (Batch size)" in shown(reader)
    reader.numbers["batch"].value = "2"
    assert "at 16,384 tokens, batch 2" in shown(reader)
    assert "--" not in shown(reader)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("model", "gemma-3-5b", "no model 'gemma-3-5b' in the catalogue"),
        ("share", "much", "share of GPU 'much' is no number"),
        ("share", "1.5", "gpu_memory_utilization 1.5 is no share"),
        ("version", "0.1", "vLLM version '0.1' is not estimated"),
        ("log", "Hello <b>", "nothing about GPU memory was recognised"),
    ],
)
def test_a_bad_value_is_a_sentence(field: str, value: str, sentence: str) -> None:
    reader = ReadLog(log("vllm-0.26-source"))
    getattr(reader, field).value = value
    assert sentence in shown(reader)
    assert 'role="alert"' in reader.result.value and "<b>" not in reader.result.value


def test_a_number_that_is_none_is_a_sentence() -> None:
    reader = ReadLog(log("torch-2.8-sdpa"), model="qwen3-0.6b", tokens=16_384)
    reader.numbers["tokens"].value = "16k"
    assert "tokens '16k' is not a whole number" in shown(reader)


def test_every_recorded_log_can_be_pasted_and_every_field_has_a_label() -> None:
    reader = ReadLog()
    for file in sorted(LOGS.glob("*.log")):
        reader.log.value = file.read_text(encoding="utf-8")
        assert "✗" not in shown(reader), file.name
    assert all(control.description for control in (reader.log, *reader.fields))
    bundle = reader._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert reader.result.value in bundle["text/html"]


def test_options_become_fields_and_those_of_vllm_stay() -> None:
    assert for_fields("add --gpu NAME (none), --tp") == "add GPU type (none), TP size"
    assert for_fields("so give --kv-dtype fp8.") == "so give KV cache fp8."
    assert for_fields("--gpu-memory-utilization 0.9") == "--gpu-memory-utilization 0.9"
