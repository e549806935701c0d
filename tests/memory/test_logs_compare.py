"""Predicted beside actual, the largest gap, and what is asked for, by a law worked out by hand."""

import json
from dataclasses import replace

import pytest
from law_by_hand import GIB, PER_TOKEN, WEIGHTS, advice, law, oom, too_long, vllm_log

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.logs import question as question_module
from workshop_utils.memory.logs.compare import compare
from workshop_utils.memory.logs.comparison_text import comparison_text
from workshop_utils.memory.logs.question import Choices
from workshop_utils.memory.logs.reading import read_log
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_module, "find_engine", lambda name: None)
    monkeypatch.setattr(question_module, "estimate", law)


@pytest.fixture(scope="module")
def llama() -> Architecture:
    return find_architecture("llama-3.1-8b")


def test_every_figure_of_a_start_stands_beside_its_prediction(llama: Architecture) -> None:
    tail = (
        "Desired GPU memory utilization is (0.9, 21.6 GiB). Actual usage is 16.16 GiB for weight, 3.0 GiB "
        "for peak activation, 0.25 GiB for non-torch memory, and 0.5 GiB for CUDAGraph memory.\n"
        "Available KV cache memory: 1.69 GiB\nGPU KV cache size: 13,844 tokens\n"
        "Maximum concurrency for 8,192 tokens per request: 1.69x\n"
    )
    result = compare(read_log(vllm_log(8192, 0.9, tail=tail)), llama)
    rows = {row.name: row for row in result.rows}
    assert (rows["weights"].predicted, rows["weights"].actual) == (16 * GIB, round(16.16 * GIB))
    assert rows["weights"].error_percent == pytest.approx(-0.99, abs=0.01)
    assert rows["peak activation"].gap == 0
    assert rows["KV cache pool"].predicted == pytest.approx(1.85 * GIB, rel=1e-6)
    assert rows["KV cache size"].predicted == round(1.85 * GIB) // PER_TOKEN
    assert rows["maximum concurrency"].error_percent == pytest.approx(100 * (1.85 / 1.69 - 1), abs=0.01)
    assert "largest gap is weights: 0.16 GiB less predicted than logged (-1.0 %)" in result.explanation
    assert (result.missing, result.assumed, result.unpredicted) == ((), (), None)
    text = comparison_text(result)
    assert text.startswith(
        "vLLM 0.26.0, llama-3.1-8b in bfloat16 at 8,192 tokens on a GPU of 24.0 GiB: it started."
    )
    (line,) = [line for line in text.splitlines() if line.startswith("weights")]
    assert line.split() == ["weights", "16.00", "GiB", "16.16", "GiB", "-1.0", "%"]


def test_a_log_as_predicted_says_so(llama: Architecture) -> None:
    result = compare(
        read_log(vllm_log(8192, 0.9, tail="Model loading took 16.0 GiB memory and 1 seconds")), llama
    )
    assert result.explanation == "Every term is as logged, within what the log rounds to."


def test_the_logs_cache_precision_is_found(llama: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    text = too_long(65536, 0.9, available=1.85, needed=4.0)
    monkeypatch.setattr("workshop_utils.memory.logs.explain.KV_BITS", {"bfloat16": 16, "fp8": 8})
    assert "--kv-dtype fp8" in compare(read_log(text), llama).explanation


def test_the_logs_weights_precision_is_found(llama: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workshop_utils.memory.logs.explain.PRECISIONS", dict.fromkeys(WEIGHTS))
    text = vllm_log(4096, 0.9, tail="Model loading took 8.02 GiB memory and 1.0 seconds")
    assert "so give --dtype int8" in compare(read_log(text), llama).explanation


def test_a_share_that_explains_the_pool(llama: Architecture) -> None:
    text = vllm_log(4096, 0.9, tail="Available KV cache memory: 0.65 GiB")
    assert "a gpu_memory_utilization of 0.850 in place of 0.9" in compare(read_log(text), llama).explanation


def test_more_alive_than_the_model_is_the_gap(llama: Architecture) -> None:
    result = compare(read_log(oom(24, 23, 1)), llama, Choices(tokens=8192))
    (row,) = [row for row in result.rows if row.at_least]
    assert row.gap == -7 * GIB
    assert "more was alive than this model" in result.explanation
    assert advice(result)["dtype"] == "int8"


def test_fragments_and_limits_are_told() -> None:
    fragmented = oom(24, 20, 0.5).replace("and 0.05 GiB is reserved", "and 3.00 GiB is reserved")
    assert "expandable_segments:True" in compare(read_log(fragmented), None).explanation
    limited = oom(24, 11, 0.5, "").replace("Of the allocated", "12.00 GiB allowed; Of the allocated")
    assert "limited to 12.00 GiB" in compare(read_log(limited), None).explanation


def test_without_a_model_the_facts_stand_and_the_options_are_asked_for() -> None:
    result = compare(read_log(oom(24, 20, 0.5)), None)
    assert result.missing == ("--model", "--tokens")
    assert (result.question, result.advice, result.unpredicted) == (None, (), None)
    assert "add --model MODEL" in comparison_text(result)
    assert json.loads(json.dumps(result.as_json()))["missing"] == ["--model", "--tokens"]


def test_a_gpu_that_is_not_known_is_asked_for_and_may_be_named(llama: Architecture) -> None:
    facts = read_log(vllm_log(4096, 0.9).replace("Free memory on device", "x"))
    assert compare(facts, llama).missing == ("--gpu",)
    assert compare(facts, llama, Choices(gpu=find_gpu("A40"))).missing == ()


def test_an_unsettled_quantisation_is_asked_for(llama: Architecture) -> None:
    text = vllm_log(4096, 0.9, quantization="compressed-tensors")
    assert compare(read_log(text), llama).missing == ("--dtype",)
    assert compare(read_log(text), llama, Choices(dtype="fp8")).missing == ()


def test_what_the_log_asks_for_and_we_cannot_is_told_but_a_readers_choice_is_an_error(
    llama: Architecture,
) -> None:
    text = vllm_log(4096, 0.9, quantization="awq")
    assert "awq-int4-g128" in (compare(read_log(text), llama).unpredicted or "")
    with pytest.raises(WorkshopError, match="'int3' is not known"):
        compare(read_log(text), llama, Choices(dtype="int3"))


def test_ranks_of_a_layout_that_is_not_stated_are_assumed_to_be_tensor_parallel(llama: Architecture) -> None:
    lines = "".join(
        f"(VllmWorker rank={rank} pid=9) Model loading took 4.00 GiB and 1.0 seconds\n" for rank in range(4)
    )
    result = compare(read_log(lines), llama, Choices(tokens=4096, gpu=find_gpu("A40")))
    assert result.question is not None
    assert result.question.tensor_parallel == 4
    assert "tensor parallel 4, for so many ranks report (--tp)" in result.assumed
    assert result.rows[0].error_percent == 0


def test_the_rank_with_the_smallest_pool_decides(llama: Architecture) -> None:
    lines = (
        "(Worker_TP0 pid=8) Available KV cache memory: 9.00 GiB\n"
        "(Worker_TP1 pid=9) Available KV cache memory: 8.00 GiB\n"
        "(Worker_TP0 pid=8) Model loading took 8.00 GiB and 1.0 seconds\n"
    )
    result = compare(read_log(lines), llama, Choices(tokens=4096, gpu=find_gpu("A40")))
    rows = {row.name: row.actual for row in result.rows}
    assert (rows["KV cache pool"], rows["weights"]) == (8 * GIB, 8 * GIB)


def test_a_gpu_of_unusual_size_keeps_its_memory(llama: Architecture) -> None:
    result = compare(read_log(vllm_log(4096, 0.9, total=19.62)), llama)
    assert result.question is not None
    assert result.question.gpu is not None
    assert result.question.gpu.name == "a GPU of 19.6 GiB"
    assert result.question.gpu.usable_bytes == pytest.approx(19.62 * GIB, abs=1)
    assert replace(result.question.gpu, usable_gib=1.0).usable_bytes == GIB
