"""The largest context and batch: what is returned was tried, and little more would fit."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu, find_gpu
from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.largest import (
    bisected,
    finished,
    fits,
    largest_batch,
    largest_tokens,
    search,
    search_batch,
    search_tokens,
)
from workshop_utils.models.find import find_architecture

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("gemma-3-27b", "A100-80GB", {}),
    ("gemma-3-4b", "L40S", {"pipeline_parallel": 2}),
    ("llama-3.1-8b", "A100-40GB", {"batch": 4, "kv_dtype": "int4"}),
    ("qwen3-32b", "H100-80GB", {"engine": "vllm"}),
]


@pytest.mark.parametrize(("model", "gpu_name", "workload"), CASES)
def test_the_longest_context_fits_and_two_percent_more_does_not(
    model: str, gpu_name: str, workload: dict[str, Any]
) -> None:
    architecture, gpu = find_architecture(model), find_gpu(gpu_name)
    most = architecture.max_positions or 2**20
    found = largest_tokens(architecture, gpu, most, **workload)
    assert found
    assert found < most, "this case is about a limit of memory"
    assert fits(estimate(architecture, gpu=gpu, tokens=found, **workload), gpu)
    # The allocator may leave an island of a fit here and there, but not of all lengths up to there.
    longer = [found * (1000 + more) // 1000 for more in (2, 5, 10, 20)]
    assert not all(fits(estimate(architecture, gpu=gpu, tokens=n, **workload), gpu) for n in longer)


@pytest.mark.parametrize(("gpu_name", "replicas"), [("A100-40GB", 1), ("A100-40GB", 4), ("H200", 1)])
def test_the_largest_batch_is_exact_and_grows_with_the_replicas(gpu_name: str, replicas: int) -> None:
    architecture, gpu = find_architecture("llama-3.1-8b"), find_gpu(gpu_name)
    workload: dict[str, Any] = {"tokens": 8192, "data_parallel": replicas}
    found = largest_batch(architecture, gpu, 4096, **workload)
    assert found
    assert found % replicas == 0
    assert found == replicas * (largest_batch(architecture, gpu, 4096, tokens=8192) or 0)
    assert fits(estimate(architecture, gpu=gpu, batch=found, **workload), gpu)
    assert not fits(estimate(architecture, gpu=gpu, batch=found + 1, **workload), gpu)


def test_none_where_the_weights_alone_are_too_large() -> None:
    architecture, gpu = find_architecture("llama-3.1-70b"), find_gpu("H100-80GB")
    assert largest_tokens(architecture, gpu, 131_072) is None
    assert largest_batch(architecture, gpu, 64, tokens=4096) is None
    assert largest_tokens(architecture, gpu, 131_072, engine="vllm") is None
    assert largest_batch(architecture, gpu, 64, tokens=4096, engine="vllm") is None


def test_never_more_than_was_asked_for() -> None:
    architecture, gpu = find_architecture("smollm2-135m"), find_gpu("H200")
    assert largest_tokens(architecture, gpu, 8192) == 8192
    assert largest_batch(architecture, gpu, 3, tokens=128) == 3
    assert largest_batch(architecture, gpu, 3, tokens=128, engine="vllm") == 3


def test_vllm_tokens_are_the_longest_of_its_own_sentence() -> None:
    architecture, gpu = find_architecture("qwen3-32b"), find_gpu("H100-80GB")
    found = largest_tokens(architecture, gpu, 40_960, engine="vllm")
    refused = estimate(architecture, gpu=gpu, tokens=40_960, engine="vllm")
    sentence = next(note for note in refused.notes if "largest max_model_len" in note)
    longest = int(sentence.split("largest max_model_len is ")[1].rstrip(".").replace(",", ""))
    assert found
    assert found <= longest <= found * 1.001 + 16


def test_vllm_batch_is_what_runs_at_a_time() -> None:
    architecture, gpu = find_architecture("llama-3.1-8b"), find_gpu("H100-80GB")
    asked: dict[str, Any] = {"tokens": 8192, "engine": "vllm"}
    at_once = int(estimate(architecture, gpu=gpu, **asked).figures["max_concurrency"])
    assert largest_batch(architecture, gpu, 4096, **asked) == at_once
    assert largest_batch(architecture, gpu, 4096, data_parallel=2, **asked) == 2 * at_once
    assert largest_batch(architecture, gpu, 4096, max_num_seqs=5, **asked) == 5


def test_a_workload_that_cannot_be_is_a_sentence() -> None:
    architecture, gpu = find_architecture("gemma-3-4b"), find_gpu("H200")
    with pytest.raises(WorkshopError, match="tensor parallel size 3"):
        largest_tokens(architecture, gpu, 4096, tensor_parallel=3)
    with pytest.raises(WorkshopError, match="keeps no KV cache in int4"):
        largest_batch(architecture, gpu, 64, tokens=4096, engine="vllm", kv_dtype="int4")


@pytest.mark.parametrize(("model", "gpu_name", "workload"), CASES)
def test_a_search_pauses_often_and_is_short(model: str, gpu_name: str, workload: dict[str, Any]) -> None:
    architecture, gpu = find_architecture(model), find_gpu(gpu_name)
    others = {name: value for name, value in workload.items() if name != "batch"}
    assert sum(1 for _ in search_tokens(architecture, gpu, 131_072, **workload)) <= 32
    assert sum(1 for _ in search_batch(architecture, gpu, 4096, tokens=4096, **others)) <= 32


@dataclass
class Made:
    """An estimate by hand: it needs so many bytes, and fits or not."""

    needed_bytes: int
    good: bool
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def per_gpu(self) -> tuple["Made", ...]:
        return (self,)

    def fits(self, _gpu: Gpu) -> bool:
        return self.good


@given(bound=st.integers(0, 500), gaps=st.sets(st.integers(1, 500)), most=st.integers(1, 600))
def test_what_is_found_fits_however_uneven_the_allocator_is(bound: int, gaps: set[int], most: int) -> None:
    gpu = find_gpu("T4")
    fitting = {n for n in range(1, min(bound, most) + 1) if n not in gaps}

    def made(number: int) -> Any:
        return Made(gpu.usable_bytes + (number > bound), number in fitting)

    found = finished(search(made, gpu, most))
    assert found is None or found in fitting
    if not gaps:
        assert found == (min(bound, most) or None)


@given(limit=st.integers(0, 10**6), most=st.integers(1, 10**6))
def test_bisection_ends_within_a_thousandth(limit: int, most: int) -> None:
    steps = bisected(lambda number: number <= limit, 0, most)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
    right = min(limit, most - 1)
    assert right - max(1, right >> 10) < found <= right
