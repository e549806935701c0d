"""What a reader is told of vLLM's budget."""

import pytest

from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.vllm.budget import Budget, plan
from workshop_utils.memory.vllm.releases import find_release
from workshop_utils.memory.vllm.report import figures, sentences
from workshop_utils.memory.vllm.settings import settle
from workshop_utils.memory.vllm.weights import Storage
from workshop_utils.models.find import find_architecture


def budget_of(model: str, gpu: str, length: int, version: str = "0.33", **chosen: int) -> Budget:
    architecture = find_architecture(model)
    settings = settle(architecture, find_release(version), find_gpu(gpu), length=length, **chosen)
    return plan(architecture, settings, Storage(lambda part: 16, 16))


def test_nothing_is_said_where_all_fits() -> None:
    assert sentences(budget_of("llama-3.1-8b", "H100-80GB", 8192), 1) == ()


def test_a_request_beyond_the_pool_names_the_largest_that_fits() -> None:
    budget = budget_of("llama-3.1-70b", "H100-80GB", 131072, tensor_parallel=2)
    sentence, *_ = sentences(budget, 1)
    longest = budget.pool.longest(131072)
    assert sentence.startswith("vLLM would not start: one request of 131,072 tokens needs 20.0 GiB")
    assert sentence.endswith(f"the largest max_model_len is {longest:,}.")
    assert 0 < longest < 131072
    assert figures(budget)["max_concurrency"] < 1


def test_weights_beyond_the_gpu_leave_no_cache() -> None:
    budget = budget_of("llama-3.1-70b", "H100-80GB", 8192)
    (sentence,) = sentences(budget, 1)
    assert "which leaves no KV cache" in sentence
    assert figures(budget)["kv_cache_tokens"] == 0
    assert figures(budget)["kv_pool_bytes"] < 0


def test_a_batch_beyond_the_pool_waits() -> None:
    budget = budget_of("llama-3.1-8b", "H100-80GB", 32768)
    at_once = int(figures(budget)["max_concurrency"])
    assert sentences(budget, at_once) == ()
    (sentence,) = sentences(budget, at_once + 1)
    assert sentence.startswith(f"{at_once} of {at_once + 1} requests of 32,768 tokens run at a time")


def test_a_batch_beyond_max_num_seqs_waits() -> None:
    (sentence,) = sentences(budget_of("llama-3.1-8b", "H100-80GB", 1024, sequences=8), 9)
    assert sentence == "max_num_seqs 8 lets no more of the 9 requests run at a time."


@pytest.mark.parametrize(
    ("version", "said"), [("0.19", True), ("0.21", False), ("0.26", True), ("0.29", False)]
)
def test_what_comes_on_top_of_the_share_is_said(version: str, said: bool) -> None:
    found = sentences(budget_of("llama-3.1-8b", "H200", 8192, version), 1)
    assert any("more than its share" in sentence for sentence in found) is said


@pytest.mark.parametrize(
    ("version", "rests"), [("0.19", "three quarters of them"), ("0.26", "0.5 GiB of FlashInfer's buffers")]
)
def test_tensor_ranks_say_on_what_the_memory_outside_torch_rests(version: str, rests: str) -> None:
    cut, whole = (
        [
            one
            for one in sentences(budget_of("phi-4", "H100-80GB", 8192, version, **ranks), 1)
            if "rest on" in one
        ]
        for ranks in ({"tensor_parallel": 2}, {})
    )
    (sentence,) = cut
    assert rests in sentence
    assert whole == []


def test_a_version_beyond_the_newest_follows_it_and_says_so() -> None:
    new, newest = budget_of("phi-4", "H200", 8192, "0.40.1"), budget_of("phi-4", "H200", 8192, "0.33")
    assert figures(new) == figures(newest)
    assert sentences(new, 1) == ("The rules of vLLM 0.33 are taken for 0.40.1, whose source was not read.",)


def test_the_figures_are_those_of_the_stage_that_limits() -> None:
    budget = budget_of("llama-3.1-8b", "H100-80GB", 8192, "0.19", pipeline_parallel=2)
    last = budget.stages[1]
    assert budget.limiting is last
    assert figures(budget)["activation_bytes"] == last.activation_bytes
    assert figures(budget)["kv_pool_bytes"] == last.available_bytes
