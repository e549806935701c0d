"""What vLLM takes beside torch's allocator, and its CUDA graphs, by hand."""

import pytest

from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.engines.vllm import certainty_of
from workshop_utils.memory.vllm.budget import plan
from workshop_utils.memory.vllm.graphs import counted_bytes, graph_bytes, parts_bytes
from workshop_utils.memory.vllm.non_torch import all_reduce_bytes, charged_pieces, uncharged_pieces
from workshop_utils.memory.vllm.piece import total
from workshop_utils.memory.vllm.releases import find_release
from workshop_utils.memory.vllm.settings import Settings, settle
from workshop_utils.memory.vllm.stages import Stage, cut
from workshop_utils.memory.vllm.weights import Storage
from workshop_utils.models.find import find_architecture
from workshop_utils.units import GIB, MIB


def start(model: str, version: str, gpu: str = "H200", **chosen: int) -> tuple[Stage, Settings]:
    architecture = find_architecture(model)
    settings = settle(architecture, find_release(version), find_gpu(gpu), length=8192, **chosen)
    return cut(architecture, settings.tensor_parallel, settings.pipeline_parallel)[0], settings


def test_flashinfer_rounds_three_buffers_to_the_granularity_of_its_version() -> None:
    # 64 MiB of hidden states: two ranks' 128 MiB, a barrier, and three times 128, each with a signal pad.
    assert all_reduce_bytes(*start("llama-3.1-8b", "0.19", tensor_parallel=2)) == 3 * 512 * MIB
    assert all_reduce_bytes(*start("llama-3.1-8b", "0.26", tensor_parallel=2)) == (130 + 2 + 386) * MIB
    # Four ranks add up 2 MiB on Hopper, where 0.5 MiB is all that eight do.
    assert all_reduce_bytes(*start("llama-3.1-8b", "0.26", tensor_parallel=4)) == (10 + 2 + 26) * MIB
    assert all_reduce_bytes(*start("llama-3.1-8b", "0.26", tensor_parallel=8)) == (6 + 2 + 14) * MIB


@pytest.mark.parametrize("version", ["0.21", "0.24", "0.33"])
def test_stages_leave_tensor_ranks_their_buffers_but_in_two_versions(version: str) -> None:
    assert all_reduce_bytes(*start("llama-3.1-8b", version, tensor_parallel=2, pipeline_parallel=2)) > 0


@pytest.mark.parametrize(
    ("version", "gpu", "chosen"),
    [
        ("0.19", "H200", {"tensor_parallel": 2, "pipeline_parallel": 2}),
        ("0.26", "H200", {}),
        ("0.26", "H200", {"tensor_parallel": 2, "flashinfer": False}),
        ("0.26", "A100-80GB", {"tensor_parallel": 2}),
        ("0.23", "H200", {"tensor_parallel": 2, "pipeline_parallel": 2}),
    ],
)
def test_no_buffers_where_vllm_does_not_add_up_with_flashinfer(version: str, gpu: str, chosen: dict) -> None:
    assert all_reduce_bytes(*start("llama-3.1-8b", version, gpu, **chosen)) == 0


def test_what_is_taken_before_the_budget_begins_is_not_charged() -> None:
    alone, ranks, stages = (
        uncharged_pieces(start("llama-3.1-8b", "0.26", **chosen)[1])
        for chosen in ({}, {"tensor_parallel": 2}, {"pipeline_parallel": 2})
    )
    assert [piece.name for piece in alone] == ["CUDA context"]
    assert total(alone) < total(stages) < total(ranks)
    # Kernels that NCCL has loaded already are not loaded later.
    charged = [
        total(charged_pieces(*start("llama-3.1-8b", "0.26", **chosen)))
        for chosen in ({}, {"pipeline_parallel": 2})
    ]
    assert charged == [230 * MIB, 68 * MIB]


def test_attention_keeps_an_output_for_each_part_of_the_cache_on_hopper() -> None:
    # 32 parts × 512 sequences × 32 heads × (128 values and a sum) in float32
    assert parts_bytes(*start("qwen3-30b-a3b", "0.26")) == 32 * 512 * 32 * 129 * 4
    assert parts_bytes(*start("llama-3.1-8b", "0.26", tensor_parallel=4)) == 32 * 512 * 8 * 129 * 4
    assert parts_bytes(*start("llama-3.1-8b", "0.26", sequences=8)) == 32 * 8 * 32 * 129 * 4
    assert parts_bytes(*start("llama-3.1-8b", "0.26", "B200")) == 0


@pytest.mark.parametrize(
    ("chosen", "count", "largest"),
    [
        ({}, 51, 512),
        ({"sequences": 128}, 35, 256),
        ({"sequences": 1}, 2, 2),
        ({"batched_tokens": 100}, 16, 100),
    ],
)
def test_sizes_that_graphs_are_captured_for(chosen: dict[str, int], count: int, largest: int) -> None:
    sizes = start("llama-3.1-8b", "0.26", **chosen)[1].graph_sizes
    assert (len(sizes), sizes[-1]) == (count, largest)


def test_graphs_profiled_by_the_older_runner_of_0_26_held_out() -> None:
    # Its log: 0.64 GiB of 51 and 51 graphs, of which 258 MiB for the first one with attention.
    stage, settings = start("qwen3-30b-a3b", "0.26")
    assert parts_bytes(stage, settings) == 258 * MIB
    assert counted_bytes(stage, settings) / GIB == pytest.approx(0.64, abs=0.06)
    budget = plan(stage.architecture, settings, Storage(lambda part: 16, 16)).stages[0]
    assert budget.graphs_counted_bytes == counted_bytes(stage, settings) < graph_bytes(stage, settings)


@pytest.mark.parametrize(
    ("gpu", "version", "certainty"),
    [
        ("H100-80GB", "0.19.1", "measured"),
        ("H200", "0.26", "measured"),
        ("A100-80GB", "0.26", "assumed"),
        ("H200", "0.33", "assumed"),
    ],
)
def test_what_is_fitted_is_measured_where_it_was_logged(gpu: str, version: str, certainty: str) -> None:
    stage, settings = start("llama-3.1-8b", version, gpu)
    budget = plan(stage.architecture, settings, Storage(lambda part: 16, 16))
    assert certainty_of(budget, find_gpu(gpu)) == certainty
