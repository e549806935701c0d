"""Advice at its very edge: what fits, and nothing less, by a law that can be worked out by hand."""

import pytest
from law_by_hand import advice, law, oom, too_long, vllm_log

from workshop_utils.memory.logs import question as question_module
from workshop_utils.memory.logs.compare import compare
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


def test_advice_for_a_request_too_long_is_at_the_edge(llama: Architecture) -> None:
    # 0.9 × 24 − 16 − 3 − 0.25 − 0.5 = 1.85 GiB for the pool; 65,536 tokens need 8 GiB.
    result = compare(read_log(too_long(65536, 0.9, available=1.85, needed=8.0)), llama)
    given = advice(result)
    assert int(given["--max-model-len"]) == int(1.85 * 8192) // 16 * 16
    assert given["dtype"] == "fp8"
    assert given["--tensor-parallel-size"] == "2"
    assert "--gpu-memory-utilization" not in given  # the whole GPU would not do
    assert "--kv-cache-dtype" not in given
    assert "--max-num-seqs" not in given


def test_the_smallest_share_fewer_sequences_and_a_smaller_cache(llama: Architecture) -> None:
    # 2.25 GiB are needed and 1.85 there: 0.4 / 24 is 1.7 % of the GPU, or 52 sequences of 8 MiB.
    result = compare(read_log(too_long(18432, 0.9, available=1.85, needed=2.25)), llama)
    given = advice(result)
    assert given["--gpu-memory-utilization"] == "0.92"
    assert given["--kv-cache-dtype"] == "fp8"
    assert given["--max-num-seqs"] == "128"


def test_what_the_log_showed_corrects_the_advice(llama: Architecture) -> None:
    exact = compare(read_log(too_long(65536, 0.9, available=1.85, needed=8.0)), llama)
    worse = compare(read_log(too_long(65536, 0.9, available=0.85, needed=8.0)), llama)
    lost = int(advice(exact)["--max-model-len"]) - int(advice(worse)["--max-model-len"])
    assert lost == pytest.approx(8192, abs=16)  # the GiB that this log has less


def test_a_gpu_in_use_gets_the_share_that_is_free(llama: Architecture) -> None:
    refusal = (
        "(21.1/24.0 GiB) on startup is less than desired GPU memory utilization (0.9, 21.6 GiB). Decrease"
    )
    text = vllm_log(4096, 0.9).replace("(23.5/24.0 GiB) on startup", refusal)
    assert advice(compare(read_log(text), llama)) == {"--gpu-memory-utilization": "0.87"}
    fuller = compare(read_log(text.replace("21.1/", "12.1/")), llama)
    assert fuller.advice == ()


def test_vllm_that_ran_out_after_its_start_gives_the_allocation_its_place(llama: Architecture) -> None:
    text = vllm_log(
        4096, 0.9, tail="(EngineCore pid=1) Available KV cache memory: 1.85 GiB\n" + oom(24, 22.8, 0.5)
    )
    result = compare(read_log(text), llama)
    # 0.4 GiB are lacking, which is 1.7 % of the GPU.
    assert advice(result) == {"--gpu-memory-utilization": "0.87"}
    assert result.facts.outcome == "out_of_memory"


def test_a_start_that_fits_tells_the_longest_request(llama: Architecture) -> None:
    text = vllm_log(4096, 0.9, tail="Available KV cache memory: 1.85 GiB\nGPU KV cache size: 15,155 tokens")
    assert advice(compare(read_log(text), llama)) == {"--max-model-len": str(int(1.85 * 8192) // 16 * 16)}


def test_generate_out_of_memory_at_its_edges(llama: Architecture) -> None:
    # 16 GiB of weights, 1 of cache a sequence and 0.25 outside: 24 GiB leave 7.75 of the cache's 16.
    choices = Choices(tokens=8192, batch=16)
    result = compare(read_log(oom(24, 23.6, 0.5)), llama, choices)
    given = advice(result)
    assert (given["batch"], given["tokens"]) == ("7", str(int(7.75 * 8192 / 16)))
    assert given["dtype"] == "nf4"  # int8 needs 24.25
    assert (given["GPUs"], given["gpu"]) == ("2", "A100-40GB")
    assert "llama-3.1-8b at 8,192 tokens × batch 16 needs 32.25 GiB" in result.explanation
    rows = {row.name: row for row in result.rows}
    assert rows["tensors, with the one that failed"].error_percent is None  # a lower bound that holds
    assert rows["outside torch (CUDA, libraries)"].error_percent == pytest.approx(0, abs=5)


def test_eager_is_told_to_be_sdpa(llama: Architecture) -> None:
    frames = (
        'File "/e/transformers/models/llama/modeling_llama.py", line 1, in eager_attention_forward\n'
        "    attn_weights = torch.matmul(query, key_states)\n"
    )
    # 32 heads × 40,960² × 2 bytes are 100 GiB.
    result = compare(read_log(frames + oom(24, 23, 100)), llama, Choices(tokens=40960))
    assert result.question is not None
    assert result.question.attention == "eager"
    assert advice(result)["attn_implementation"] == "sdpa"
    assert "at 40,960 tokens × batch 1" in result.explanation


@pytest.mark.parametrize(
    ("middle", "words"),
    [
        ("Process 7 has 12.00 GiB memory in use. ", "another process has 12.00 GiB"),
        (
            "Process 7 has 6.00 GiB memory in use. Process 8 has 6.00 GiB memory in use. ",
            "2 other processes have",
        ),
    ],
)
def test_other_processes_are_named_as_the_cause(llama: Architecture, middle: str, words: str) -> None:
    result = compare(read_log(oom(24, 11.6, 0.5, middle)), llama, Choices(tokens=4096, dtype="int8"))
    assert words in result.explanation
    assert advice(result)["dtype"] == "nf4"  # 8.75 GiB of 12 would do, had not 12.1 been alive


def test_no_cache_against_our_estimate_is_said_and_nothing_is_advised(llama: Architecture) -> None:
    message = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"
    result = compare(read_log(vllm_log(4096, 0.9, tail=message)), llama)
    assert result.facts.outcome == "no_kv_memory"
    assert (
        "By our estimate 1.85 GiB would be left, so something that the log does not state"
        in result.explanation
    )
    assert result.advice == ()
    tight = compare(read_log(vllm_log(4096, 0.7, tail=message)), llama)
    assert "would be left" not in tight.explanation
    assert "--gpu-memory-utilization" in advice(tight)
