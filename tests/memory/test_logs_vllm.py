"""vLLM's lines as published (tests/memory/logs/SOURCES.md), and the forms that only its source shows."""

from pathlib import Path

import pytest

from workshop_utils.memory.logs.facts import LogFacts
from workshop_utils.memory.logs.reading import read_log

LOGS = Path(__file__).parent / "logs"
GIB = 2**30
# Written out after the source of 0.26.0: one of two ranks of the second stage, in a terminal's colours.
SOURCE_026 = (LOGS / "vllm-0.26-source.log").read_text(encoding="utf-8")


def read(name: str) -> LogFacts:
    return read_log((LOGS / name).read_text(encoding="utf-8"))


def gib(figure: float) -> int:
    return round(figure * GIB)


def test_a_start_of_026_is_read_whole() -> None:
    facts = read_log(SOURCE_026)
    setup = facts.setup
    assert (setup.version, setup.model, setup.dtype) == ("0.26.0", "google/gemma-3-27b-it", "bfloat16")
    assert (setup.quantization, setup.kv_cache_dtype, setup.max_model_len) == (None, "fp8_e4m3", 32768)
    assert (setup.tensor_parallel_size, setup.pipeline_parallel_size, setup.data_parallel_size) == (2, 2, 1)
    assert (setup.gpu_memory_utilization, setup.max_num_seqs, setup.enforce_eager) == (0.85, 64, False)
    (rank,) = facts.ranks
    assert rank.rank == 3  # the second of two tensor parallel ranks in the second stage
    assert (rank.weights_bytes, rank.activation_bytes) == (gib(12.81), gib(3.91))
    assert (rank.non_torch_bytes, rank.cuda_graph_bytes, rank.kv_pool_bytes) == (
        gib(0.57),
        gib(0.73),
        gib(50.02),
    )
    assert (rank.gpu_free_bytes, rank.gpu_total_bytes) == (gib(78.6), gib(79.19))
    assert (facts.pool.tokens, facts.pool.max_concurrency) == (1_204_224, 36.75)
    assert (facts.outcome, facts.refusal, facts.oom) == ("started", None, None)


def test_nothing_beyond_what_was_recognised_is_kept() -> None:
    assert "sk-do-not-show" not in repr(read_log(SOURCE_026)) + str(read_log(SOURCE_026).as_json())


def test_the_older_engine_prints_its_terms_and_blocks_of_16_tokens() -> None:
    facts = read("vllm-0.6.4-v0.log")
    (rank,) = facts.ranks
    assert (rank.weights_bytes, rank.non_torch_bytes) == (gib(7.51), gib(0.39))
    assert (rank.activation_bytes, rank.kv_pool_bytes) == (gib(2.53), gib(3.76))
    assert (facts.gpu_bytes, facts.setup.gpu_memory_utilization) == (gib(15.77), 0.9)
    assert facts.pool.tokens == 3852 * 16
    assert facts.pool.tokens / 40_000 == pytest.approx(facts.pool.max_concurrency or 0, abs=0.005)


def test_its_gb_of_08_are_gib() -> None:
    facts = read("vllm-0.8.2-gemma-3-27b-tp4.log")
    assert [rank.rank for rank in facts.ranks] == [0, 1, 2, 3]
    assert {rank.weights_bytes for rank in facts.ranks} == {gib(13.1665)}


def test_lengths_come_from_the_pool_or_the_refusal_where_no_configuration_stands() -> None:
    assert read("vllm-0.8-llama-3.1-8b-l40s.log").setup.max_model_len == 32_768
    assert read("vllm-0.9.2-too-long.log").setup.max_model_len == 118_000


def test_a_request_longer_than_the_cache() -> None:
    facts = read("vllm-0.9.2-too-long.log")
    assert facts.outcome == "kv_cache_too_small"
    assert facts.refusal is not None
    assert (facts.refusal.needed_bytes, facts.refusal.available_bytes) == (gib(6.30), gib(6.11))
    assert facts.refusal.longest_model_len == 114_432
    cut_off = read("vllm-0.11-gpt-oss-120b-h100.log").refusal
    assert cut_off is not None
    assert (cut_off.needed_bytes, cut_off.longest_model_len) == (gib(4.54), None)


def test_the_wording_of_026_for_a_request_too_long() -> None:
    text = (
        "To serve at least one request with the model's max seq len (262144), (24.0 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (3.18 GiB). Based on the available memory, the "
        "estimated maximum model length is 34736. Try increasing `gpu_memory_utilization` (which also"
    )
    facts = read_log(text)
    assert facts.refusal is not None
    assert (facts.setup.max_model_len, facts.refusal.longest_model_len) == (262_144, 34_736)


def test_no_memory_for_a_cache_and_a_gpu_in_use() -> None:
    assert read("vllm-0.8.5-qwen3-8b-no-memory.log").outcome == "no_kv_memory"
    facts = read("vllm-0.30-gpu-in-use.log")
    assert facts.outcome == "gpu_in_use"
    assert (facts.ranks[0].gpu_free_bytes, facts.gpu_bytes) == (gib(3.25), gib(23.43))
    assert facts.setup.gpu_memory_utilization == 0.96
    assert facts.refusal is not None
    assert facts.refusal.needed_bytes == gib(22.49)


def test_arguments_and_version_before_the_configuration() -> None:
    facts = read("vllm-0.19-gpt-oss-20b-a100.log")
    assert (facts.setup.version, facts.setup.model) == ("0.19.0", "openai/gpt-oss-20b")
    assert (facts.setup.max_model_len, facts.setup.gpu_memory_utilization) == (131_072, 0.65)
    assert (facts.ranks[0].weights_bytes, facts.ranks[0].kv_pool_bytes) == (gib(13.72), gib(36.56))


def test_the_utilisation_in_force_counts_not_the_one_advised() -> None:
    assert read("vllm-0.21-qwen3-8b-24gb.log").setup.gpu_memory_utilization == 0.9764
    two = read("vllm-0.27-tp2.log")
    assert [(rank.rank, rank.cuda_graph_bytes) for rank in two.ranks] == [(0, gib(0.36)), (1, gib(0.36))]


def test_consumed_memory_of_028_and_lines_that_a_terminal_wrapped() -> None:
    facts = read("vllm-0.29-consumed.log")
    (rank,) = facts.ranks
    assert (rank.consumed_bytes, rank.weights_bytes, rank.non_torch_bytes) == (gib(11.22), None, None)
    assert (rank.activation_bytes, rank.kv_pool_bytes) == (gib(1.46), gib(9.27))
    assert (facts.pool.tokens, facts.pool.max_concurrency) == (60_768, 1.85)


def test_captured_graphs_count_over_estimated_ones() -> None:
    captured = "Graph capturing finished in 18 secs, took 0.96 GiB"
    estimated = "Estimated CUDA graph memory: 1.10 GiB total"
    for text in (f"{estimated}\n{captured}", f"{captured}\n{estimated}"):
        assert read_log(text).ranks[0].cuda_graph_bytes == gib(0.96)


def test_the_last_of_several_starts_counts() -> None:
    first = (LOGS / "vllm-0.9.2-config.log").read_text(
        encoding="utf-8"
    ) + "No available memory for the cache blocks."
    facts = read_log(first + SOURCE_026)
    assert (facts.setup.version, facts.outcome) == ("0.26.0", "started")
    again = read_log(SOURCE_026 + first)
    assert (again.setup.version, again.outcome, again.ranks) == ("0.9.2", "no_kv_memory", ())


def test_other_replicas_are_left_out() -> None:
    lines = (
        "(Worker_DP0_TP1 pid=3) INFO Model loading took 10.0 GiB memory and 1.0 seconds\n"
        "(Worker_DP1_TP1 pid=4) INFO Model loading took 11.0 GiB memory and 1.0 seconds\n"
    )
    assert [(rank.rank, rank.weights_bytes) for rank in read_log(lines).ranks] == [(1, gib(10.0))]


@pytest.mark.parametrize(
    "command",
    [
        "vllm serve Qwen/Qwen3-8B --max-model-len 16384 --tensor-parallel-size=2 "
        "--gpu-memory-utilization 0.9",
        "vllm serve Qwen/Qwen3-8B \\\n  --max-model-len=16384 \\\n  --tensor-parallel-size 2 \\\n"
        "  --gpu-memory-utilization=0.9",
        "args: Namespace(subparser='serve', model_tag='x', api_key='sk-secret', model='Qwen/Qwen3-8B', "
        "max_model_len=16384, tensor_parallel_size=2, gpu_memory_utilization=0.9)",
    ],
)
def test_a_command_line_above_the_failure_is_read(command: str) -> None:
    facts = read_log(f"{command}\nValueError: No available memory for the cache blocks. Try increasing")
    setup = facts.setup
    assert (setup.model, setup.max_model_len) == ("Qwen/Qwen3-8B", 16_384)
    assert (setup.tensor_parallel_size, setup.gpu_memory_utilization) == (2, 0.9)
    assert "sk-secret" not in repr(facts)
