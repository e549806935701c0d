"""Whole experts over tensor and data parallel ranks: which rank holds what, and what vLLM cannot do."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.memory.estimate_text import estimate_text
from workshop_utils.memory.layout_check import check_layout
from workshop_utils.memory.to_panel import title_of
from workshop_utils.memory.vllm.experts import Spread, cut_obstacle, most_ranks, spread_of
from workshop_utils.memory.vllm.moe import workspace_bytes
from workshop_utils.memory.vllm.stages import Stage, cut, engine_ranks
from workshop_utils.memory.vllm.weights import rank_tensors
from workshop_utils.models.architecture import Architecture, Experts
from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.units import GB

EXAMPLES = settings(max_examples=120, deadline=None, derandomize=True, database=None)
MIXTURES = [name for name in catalogue_names() if most_ranks(find_architecture(name))]
sizes = st.sampled_from((1, 2, 3, 4, 5, 8, 16))


def of(model: str, **options: object) -> Estimate:
    asked = {"tokens": 8192, "engine": "vllm", "gpu": find_gpu("H200"), "expert_parallel": True}
    return estimate(find_architecture(model), **(asked | options))  # type: ignore[arg-type]


def held(stages: list[Stage]) -> Counter[str]:
    """Return the values of each part, over all of these ranks."""
    values: Counter[str] = Counter()
    for stage in stages:
        for tensor in rank_tensors(stage):
            values[tensor.part] += tensor.copies * tensor.values
    return values


@EXAMPLES
@given(st.sampled_from(MIXTURES).map(find_architecture), sizes, sizes, st.sampled_from((1, 2, 4)))
def test_ranks_together_hold_every_expert_once_and_the_rest_on_each_engine(
    model: Architecture, tensor: int, engines: int, pipeline: int
) -> None:
    assume(1 < tensor * engines <= most_ranks(model))
    try:
        check_layout(model, tensor, pipeline, whole_experts=True)
    except WorkshopError:
        assume(False)
    stages = cut(model, tensor, pipeline)
    ranks = [rank for engine in range(engines) for rank in engine_ranks(stages, True, engines, engine)]
    assert len(ranks) == tensor * engines * pipeline
    found, one = held(ranks), held([stage for stage in stages for _ in range(tensor)])
    by_part = count_parameters(model).by_part
    assert found["experts"] == by_part["experts"]
    if "shared_experts" in by_part:
        copies = tensor * engines if engines > 1 else 1
        assert found["shared_experts"] == copies * by_part["shared_experts"]
    # Attention, embedding, norms and router: what an engine of so many tensor ranks has, on each.
    for part in one.keys() - {"experts", "shared_experts"}:
        assert found[part] == engines * one[part], part


@given(st.integers(1, 600), st.integers(1, 64))
def test_the_first_ranks_take_one_expert_more(routed: int, ranks: int) -> None:
    experts = Experts(routed, 1, 64)
    counts = [Spread(ranks, rank, ranks).held(experts) for rank in range(ranks)]
    assert sum(counts) == routed
    assert counts == sorted(counts, reverse=True)
    assert counts[0] - counts[-1] <= 1


def test_equal_ranks_are_one_and_hold_what_they_hold() -> None:
    lite = find_architecture("deepseek-v2-lite")
    experts = lite.layers[-1].experts
    assert experts is not None
    # 64 experts over 6 ranks: four of 11, then two of 10.
    spreads = [spread_of(lite, 2, 3, rank) for rank in range(6)]
    assert [each.held(experts) for each in spreads] == [11, 11, 11, 11, 10, 10]
    assert len(set(spreads)) == 2


def test_engines_with_fewer_experts_have_more_cache() -> None:
    result = of("mixtral-8x7b", data_parallel=3, batch=3).as_json()
    ranks = json.loads(json.dumps(result))["per_gpu"]
    experts, cache = (
        [sum(t["bytes"] for t in rank["terms"] if t["name"].startswith(name)) for rank in ranks]
        for name in ("weights: experts", "KV cache")
    )
    # 3, 3 and 2 of 8 experts: 32 layers × 3 × 4096 × 14336 values of 2 bytes each.
    each = 32 * 3 * 4096 * 14336 * 2
    assert experts == pytest.approx([3 * each, 3 * each, 2 * each], rel=0.001)
    assert cache[0] == cache[1] < cache[2] < cache[0] + 1.01 * each
    formulas = [t["formula"] for rank in ranks for t in rank["terms"] if t["name"] == "weights: experts"]
    assert [formula.split()[0] for formula in formulas] == ["3", "3", "2"]


def test_json_and_text_say_over_how_many_ranks() -> None:
    result = of("qwen3-30b-a3b", tensor_parallel=2, data_parallel=2)
    assert result.as_json()["expert_parallel"] == 4
    text = estimate_text(find_architecture("qwen3-30b-a3b"), result)
    assert "4 GPUs (dp 2 × pp 1 × tp 2, ep 4)" in text
    assert "rank 3" in text
    assert "2 engines run in step" in " ".join(text.split())
    assert "DP 2 × TP 2 with EP 4" in title_of(result)
    assert of("qwen3-30b-a3b", expert_parallel=False).as_json()["expert_parallel"] == 1


def test_cut_and_whole_experts_need_about_the_same() -> None:
    for model in ("qwen3-30b-a3b", "mixtral-8x7b"):
        whole, cut_ones = (of(model, tensor_parallel=4, expert_parallel=how) for how in (True, False))
        assert whole.weights_bytes == pytest.approx(cut_ones.weights_bytes, rel=0.01)
        assert whole.figures["kv_pool_bytes"] == pytest.approx(cut_ones.figures["kv_pool_bytes"], rel=0.02)


def test_engines_of_their_own_keep_a_latent_cache_once() -> None:
    asked = {"tokens": 32768, "dtype": "fp8"}
    cut_ones = of("deepseek-v3", tensor_parallel=8, expert_parallel=False, **asked)
    engines = of("deepseek-v3", data_parallel=8, **asked)
    # Eight caches, each of other requests, instead of eight copies of one.
    together = 8 * engines.figures["kv_cache_tokens"]
    assert together > 2 * cut_ones.figures["kv_cache_tokens"]
    # What it costs: attention and the shared expert on every rank.
    more = engines.weights_bytes - cut_ones.weights_bytes
    assert 90 * GB < more < 140 * GB


def test_the_workspace_has_room_for_the_tokens_of_all_engines() -> None:
    experts = find_architecture("mixtral-8x7b").layers[0].experts
    assert experts is not None
    term = next(
        term
        for term in of("mixtral-8x7b", tensor_parallel=2, data_parallel=2).fullest.terms
        if term.name == "start-up: workspace of the experts"
    )
    assert term.bytes == workspace_bytes(experts, 4096, 2 * 8192, 1, 2)
    assert term.certainty == "assumed"
    assert term.formula.startswith("2 engines × 8,192 tokens")


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("llama-3.1-8b", {"tensor_parallel": 4}, "has no experts to spread; leave --ep out: tensor"),
        ("mixtral-8x7b", {"data_parallel": 16}, "16 ranks .* more than the 8 experts .* give at most 8"),
        ("mixtral-8x7b", {}, "one rank holds all experts anyway; give --ep a tensor or data"),
        ("mixtral-8x7b", {"engine": "transformers"}, "says nothing to engine transformers; leave it out"),
        ("mixtral-8x7b", {"engine": "accelerate"}, "or choose engine vllm"),
        ("qwen3-30b-a3b", {"tensor_parallel": 3}, "tensor parallel size 3 does not fit"),
    ],
)
def test_refusals_are_one_sentence(model: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(WorkshopError, match=sentence) as refused:
        of(model, **options)
    assert "\n" not in str(refused.value)


def test_groups_of_a_quantised_expert_are_not_cut() -> None:
    lite = find_architecture("deepseek-v2-lite")
    # 1,408 columns: 352 on each of 4 are 11 groups of 32, and 176 on each of 8 are none.
    assert cut_obstacle(lite, "awq-int4-g128", 4) is None
    assert "leaves 176 of the 1,408 columns" in str(cut_obstacle(lite, "awq-int4-g128", 8))
    assert cut_obstacle(lite, "bfloat16", 8) is None
    with pytest.raises(WorkshopError, match=r"choose 1, 2, 4, or spread whole experts \(--ep\)"):
        of("deepseek-v2-lite", dtype="awq-int4-g128", tensor_parallel=8, expert_parallel=False)
    assert of("deepseek-v2-lite", dtype="awq-int4-g128", tensor_parallel=8).per_gpu[7].rank == 7
    # Blocks of 128 of a checkpoint in fp8; vLLM's own fp8 of the same model has none.
    assert "the 128 that fp8" in str(cut_obstacle(replace(lite, stored_as="fp8"), "fp8", 2))
    assert cut_obstacle(lite, "fp8", 2) is None


def test_a_width_that_does_not_divide_points_to_whole_experts() -> None:
    mixture = find_architecture("qwen3-30b-a3b")
    layers = tuple(replace(layer, experts=layer.experts._replace(width=770)) for layer in mixture.layers)  # type: ignore[union-attr]
    odd = replace(mixture, name="odd", layers=layers)
    with pytest.raises(
        WorkshopError, match="770 columns of each expert of odd; choose 1, 2, or spread whole"
    ):
        check_layout(odd, 4, 1)
    check_layout(odd, 4, 1, whole_experts=True)


def test_replicas_of_a_mixture_are_servers_of_their_own() -> None:
    found = estimate(
        find_architecture("mixtral-8x7b"), tokens=4096, batch=2, engine="vllm", gpu=find_gpu("H200"),
        data_parallel=2,
    )  # fmt: skip
    assert any("servers of their own" in note for note in found.notes)
    dense = estimate(
        find_architecture("llama-3.1-8b"), tokens=4096, batch=2, engine="vllm", gpu=find_gpu("H200"),
        data_parallel=2,
    )  # fmt: skip
    assert not any("servers of their own" in note for note in dense.notes)
