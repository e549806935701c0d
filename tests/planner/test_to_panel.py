"""A plan in the panel: the GPUs of one node, in order of the ranks, with a title that says what they run."""

from pathlib import Path

import pytest

from workshop_utils.cluster.offers import offers
from workshop_utils.cluster.site import find_site
from workshop_utils.models.find import find_architecture
from workshop_utils.monitor.plan import Plan as Drawn
from workshop_utils.monitor.plan import plan_file, read_plan
from workshop_utils.planner.plan import Plan
from workshop_utils.planner.planning import plan
from workshop_utils.planner.to_panel import ranks_of_a_node, show_plan_in_panel
from workshop_utils.planner.wanted import Wanted


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))


def plans(model: str, gpu: str, tokens: int = 4096, **more: object) -> tuple[Plan, ...]:
    site = find_site("uva")
    wanted = Wanted(find_architecture(model), tokens, 512, **more)  # type: ignore[arg-type]
    return plan(wanted, [offer for offer in offers(site) if offer.name == gpu], site.torch_build).plans


def drawn() -> Drawn:
    found = read_plan(plan_file())
    assert found is not None
    return found


def totals(found: Drawn) -> list[int]:
    return [sum(term.bytes for term in terms) for terms in found.gpus]


def test_one_gpu() -> None:
    first = plans("gemma-3-27b", "A100-80GB", dtypes=("bfloat16",))[0]
    sentence = show_plan_in_panel(first)
    assert drawn().title == "gemma-3-27b, 1 × A100-80GB, bfloat16, 1 × 4,096 tokens, this workshop's runner"
    assert totals(drawn()) == [first.estimate.per_gpu[0].process_bytes]
    assert sentence.startswith(f"{drawn().title}: JupyterLab's panel")
    assert sentence.endswith("GiB on GPU 0.")


def test_replicas_fill_the_node_one_after_the_other() -> None:
    found = plans("llama-3.1-70b", "H200", prompts=1000, dtypes=("bfloat16",), engine="vllm")
    several = next(each for each in found if each.layout.copies > 1 and each.layout.tensor > 1)
    sentence = show_plan_in_panel(several)
    assert several.layout.words() in drawn().title
    assert drawn().title.endswith("tokens on each replica, vLLM")
    assert totals(drawn()) == several.as_json()["per_gpu_bytes"]
    assert sentence.endswith(f" each on GPUs 0 to {several.gpus - 1}.")


def test_of_several_nodes_the_first_is_drawn_and_said_to_be() -> None:
    found = plans("deepseek-v3", "A6000", engine="vllm")
    pipeline = next(each for each in found if each.nodes.nodes == 2 and each.layout.pipeline > 1)
    sentence = show_plan_in_panel(pipeline)
    assert len(drawn().gpus) == pipeline.nodes.gpus_per_node == 8
    assert totals(drawn()) == [rank.process_bytes for rank in pipeline.estimate.per_gpu[:8]]
    assert [rank.rank for rank in ranks_of_a_node(pipeline, 1)] == list(range(8, 16))
    assert sentence.endswith("on GPUs 0 to 7 of the first of 2 nodes.")


def test_nodes_that_hold_the_same_are_said_to() -> None:
    found = plans("llama-3.1-70b", "A100-80GB", prompts=100_000, deadline_hours=1.0, dtypes=("bfloat16",))
    wide = next(each for each in found if each.nodes.nodes > 1 and each.layout.copies > 1)
    assert show_plan_in_panel(wide).endswith(f"on GPUs 0 to 7, the same on all {wide.nodes.nodes} nodes.")


def test_ranks_that_differ_are_told_from_least_to_most() -> None:
    stages = next(each for each in plans("gemma-3-27b", "RTX 3090") if each.layout.pipeline == 2)
    first, last = (rank.process_bytes / 2**30 for rank in stages.estimate.per_gpu)
    assert first > last  # the first stage has the embedding and the image tower
    assert f"{last:.1f} GiB to {first:.1f} GiB on GPUs 0 and 1." in show_plan_in_panel(stages)
