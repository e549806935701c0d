"""Where the planner spreads whole experts, and what it says where it does not."""

import json
from dataclasses import replace

import pytest

from workshop_utils.cluster.offers import offers
from workshop_utils.cluster.site import find_site
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.planner.experts import expert_layouts
from workshop_utils.planner.layout import Layout, Nodes, place
from workshop_utils.planner.offer import Offer
from workshop_utils.planner.plan import Plan, Planning
from workshop_utils.planner.planning import plan
from workshop_utils.planner.speed import Replica, Text, runners
from workshop_utils.planner.wanted import Wanted

H200 = Offer("H200", find_gpu("H200"), 8, 1, 8, 1, 72, link="nvlink")
A100 = Offer("A100", find_gpu("A100-80GB"), 8, 18, 32, 4, 72, link="nvlink")


def at_uva(model: str, **wanted: object) -> Planning:
    fields = {"tokens": 32768, "new_tokens": 4096, "prompts": 200, "engine": "vllm"} | wanted
    site = find_site("uva")
    return plan(Wanted(find_architecture(model), **fields), offers(site), site.torch_build)  # type: ignore[arg-type]


def spread(found: Planning) -> list[Plan]:
    return [each for each in found.plans if each.layout.expert > 1]


def test_engines_with_a_latent_cache_each_beside_tensor_parallel() -> None:
    found = at_uva("deepseek-v3")
    rows = spread(found)
    assert rows
    for each in rows:
        layout = each.layout
        assert (layout.pipeline, layout.replica_gpus) == (1, layout.expert)
        assert layout.expert <= each.offer.per_node
        assert (each.certainty, each.nodes.gpus_per_node) == ("assumed", min(8, each.gpus))
        assert each.low == pytest.approx(0.6 * each.tokens_per_s)
        assert "latent cache, which TP" in each.why
        assert "--ep" in each.estimate_command() and f"--dp {layout.engines}" in each.estimate_command()
        assert "tokens of all engines" in each.communication
        # The same number of GPUs with experts that are cut stands before it, and is slower.
        others = [
            other
            for other in found.plans[: found.plans.index(each)]
            if (other.offer, other.dtype, other.gpus) == (each.offer, each.dtype, each.gpus)
        ]
        cut = [other for other in others if other.layout.expert == 1]
        assert all(1.05 * other.tokens_per_s < each.tokens_per_s for other in cut)
    by_tensor = [each for each in found.plans if each.layout.tensor > 1 and each not in rows]
    assert any("H200" in each.offer.name for each in by_tensor)


def test_the_plans_json_says_over_how_many_ranks() -> None:
    best = spread(at_uva("deepseek-v3"))[0]
    said = json.loads(json.dumps(best.as_json()))
    assert said["layout"] == {
        "dp": best.layout.data, "pp": 1, "tp": best.layout.tensor, "ep": best.layout.expert,
    }  # fmt: skip
    assert len(said["per_gpu_bytes"]) == best.gpus == said["nodes"] * said["gpus_per_node"]


def test_one_prompt_keeps_no_engines_busy() -> None:
    found = at_uva("deepseek-v3", prompts=1)
    assert not spread(found)
    reasons = {each.reason for each in found.refused if each.layout.engines == 8}
    assert "it has 8 engines, and only one prompt runs at a time" in reasons
    assert any("DP with EP would not" in each.why for each in found.plans if each.layout.tensor > 1)


@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "mixtral-8x7b"])
def test_no_row_that_only_repeats_tensor_parallel(model: str) -> None:
    found = at_uva(model)
    assert not spread(found)
    for each in found.plans:
        said = "expert parallel (EP) would need about the same memory" in each.why
        assert said == (each.layout.tensor > 1)
    assert not any(each.layout.expert > 1 for each in found.refused)


def test_only_vllm_spreads_experts() -> None:
    found = at_uva("deepseek-v2-lite", engine="transformers")
    assert not spread(found)
    assert not any(each.layout.expert > 1 for each in found.refused)
    assert not any("expert parallel" in each.why for each in found.plans)


def test_what_tensor_ranks_cannot_cut_is_spread_whole() -> None:
    mixture = find_architecture("qwen3-30b-a3b")
    layers = tuple(replace(layer, experts=layer.experts._replace(width=770)) for layer in mixture.layers)  # type: ignore[union-attr]
    odd = replace(mixture, name="odd", layers=layers)
    found = plan(
        Wanted(odd, 32768, 512, prompts=64, engine="vllm", dtypes=("bfloat16",)),
        [replace(A100, gpu=find_gpu("A40"), most_gpus=4, most_nodes=1)],
    )
    (four,) = spread(found)
    assert four.layout == Layout(tensor=4, expert=4)
    assert "as so many ranks cannot cut one" in four.why
    refused = {each.layout: each for each in found.refused}[Layout(tensor=4)]
    assert "does not fit the 770 columns of each expert" in refused.reason
    assert refused.nearest.endswith("or spread whole experts (--engine vllm --ep)")


def test_layouts_are_those_that_gain_something() -> None:
    lite, mixtral = find_architecture("deepseek-v2-lite"), find_architecture("mixtral-8x7b")
    assert expert_layouts(mixtral, A100, "awq-int4-g128") == []
    assert expert_layouts(find_architecture("llama-3.1-8b"), A100, "bfloat16") == []
    found = expert_layouts(lite, H200, "bfloat16")
    assert found == [
        Layout(2, 1, 1, 2), Layout(4, 1, 1, 4), Layout(2, 1, 2, 4),
        Layout(8, 1, 1, 8), Layout(4, 1, 2, 8), Layout(2, 1, 4, 8),
    ]  # fmt: skip
    # 1,408 columns in 8 parts are no multiple of a group.
    assert Layout(tensor=8, expert=8) in expert_layouts(lite, H200, "awq-int4-g128")
    assert all(layout.data * layout.tensor == layout.expert for layout in found)


def test_engines_stay_on_one_node() -> None:
    assert place(Layout(8, 1, 1, 8), A100) == Nodes(1, 8)
    assert "starts their engines on one node, which has 8" in str(place(Layout(16, 1, 1, 16), A100))
    # Two replicas of eight engines are two jobs.
    assert place(Layout(16, 1, 1, 8), A100) == Nodes(2, 8)


def test_sizes_and_words_of_a_layout() -> None:
    layout = Layout(data=8, tensor=2, expert=8)
    assert (layout.engines, layout.copies, layout.replica_gpus, layout.gpus) == (4, 2, 8, 16)
    assert layout.replica() == Layout(data=4, tensor=2, expert=8)
    assert layout.words() == "DP 8 × TP 2 with EP 8"
    assert Layout(data=2, tensor=4).replica() == Layout(tensor=4)


def step(layout: Layout, batch: int, tokens: int = 32768) -> float:
    architecture = find_architecture("deepseek-v3")
    weights = count_parameters(architecture).total
    replica = Replica(architecture, runners()["vLLM"], H200, layout, weights)
    return replica.speed(Text(batch, tokens - 512, 512)).step_s


def test_engines_read_their_own_cache_and_all_of_attention() -> None:
    tensor, engines = Layout(tensor=8), Layout(data=8, expert=8)
    # One sequence: attention's weights decide, which every engine reads whole.
    assert step(engines, 1, 4096) > step(tensor, 1, 4096)
    # Many long ones: the cache decides, which tensor ranks read eight times.
    assert step(engines, 64) < step(tensor, 64)
    # The fullest engine sets the pace.
    assert step(engines, 9) == step(engines, 16)


def test_a_slow_link_makes_the_exchange_slower() -> None:
    architecture, layout = find_architecture("deepseek-v3"), Layout(data=8, expert=8)
    weights = count_parameters(architecture).total
    fast, slow = (
        Replica(architecture, runners()["vLLM"], replace(H200, link=link), layout, weights)  # type: ignore[arg-type]
        for link in ("nvlink", "pcie")
    )
    assert slow.speed(Text(64, 8192, 512)).prefill_s > fast.speed(Text(64, 8192, 512)).prefill_s
    assert slow.sums_seconds(10**6) > 2 * fast.sums_seconds(10**6)
