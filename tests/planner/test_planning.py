"""What the planner proposes, in which order, and what it says of the rest."""

from dataclasses import replace

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture
from workshop_utils.planner.layout import Layout, Nodes, place
from workshop_utils.planner.offer import Offer
from workshop_utils.planner.plan import Planning
from workshop_utils.planner.planning import plan
from workshop_utils.planner.wanted import Wanted

A40 = Offer("A40", find_gpu("A40"), 8, 12, 32, 4, 72)
A100 = Offer("A100", find_gpu("A100-80GB"), 8, 18, 32, 4, 72, link="nvlink", scarce=True, whole_nodes=True)
V100 = Offer("V100", find_gpu("V100-32GB"), 4, 2, 8, 2, 72)
T4 = Offer("T4", find_gpu("T4"), 1, 4, 4, 4, 72)


def planned(model: str, *offers: Offer, build: str | None = None, **wanted: object) -> Planning:
    fields = {"tokens": 4096, "new_tokens": 512} | wanted
    return plan(Wanted(find_architecture(model), **fields), offers, build)  # type: ignore[arg-type]


def test_the_smallest_gpu_that_holds_it_comes_first() -> None:
    found = planned("llama-3.1-8b", A100, A40)
    best = found.plans[0]
    assert (best.offer.name, best.layout, best.dtype) == ("A40", Layout(), "bfloat16")
    assert best.why.startswith("One A40 is the smallest GPU here that holds it whole in bfloat16")


def test_fewer_bits_come_before_more_gpus_and_before_scarce_ones() -> None:
    found = planned("gemma-3-27b", A100, A40, tokens=8192)
    kinds = [(each.offer.name, each.gpus, each.dtype) for each in found.plans]
    assert kinds[0] == ("A40", 1, "nf4") or kinds[0] == ("A40", 1, "int8")
    assert kinds.index(("A100", 1, "bfloat16")) < kinds.index(("A40", 2, "bfloat16"))
    assert "compare the answers" in found.plans[0].why


def test_a_free_gpu_goes_before_one_that_is_not() -> None:
    busy = replace(A40, free_by_node=(0,))
    idle = replace(A100, free_by_node=(3, 3, 3))
    found = planned("llama-3.1-8b", busy, idle, dtypes=("bfloat16",))
    assert (found.plans[0].offer.name, found.plans[0].starts_now) == ("A100", True)
    assert "free now" in found.plans[0].why


@pytest.mark.parametrize(
    ("layout", "free", "starts"),
    [
        # Replicas are jobs of their own, on whatever nodes.
        (Layout(data=8), (5, 2, 1), True), (Layout(data=16), (5, 2, 1), False),
        (Layout(data=2, tensor=4), (7, 1), False), (Layout(data=2, tensor=4), (4, 0, 5), True),
        # One replica on several nodes takes whole ones.
        (Layout(pipeline=2, tensor=8), (7, 7, 7), False), (Layout(pipeline=2, tensor=8), (8, 3, 8), True),
        (Layout(data=2, pipeline=2, tensor=8), (8, 8, 8), False), (Layout(), (), False),
    ],
)  # fmt: skip
def test_a_plan_starts_now_where_every_replica_has_room(
    layout: Layout, free: tuple[int, ...], starts: bool
) -> None:
    plan = planned("llama-3.1-8b", A100, dtypes=("bfloat16",)).plans[0]
    assert plan.starts_now is None
    offer = replace(A100, free_by_node=free)
    assert replace(plan, offer=offer, layout=layout).starts_now is starts


def test_a_deadline_brings_more_gpus_to_the_front() -> None:
    slow = planned("gemma-3-27b", A100, prompts=2000, tokens=32768)
    fast = planned("gemma-3-27b", A100, prompts=2000, tokens=32768, deadline_hours=2.0)
    assert slow.plans[0].gpus < fast.plans[0].gpus
    assert fast.plans[0].in_time
    assert not fast.plans[-1].in_time or fast.plans[-1].seconds <= fast.plans[0].seconds * 32


def test_memory_is_the_engines() -> None:
    best = planned("gemma-3-27b", A100, dtypes=("bfloat16",)).plans[0]
    again = estimate(
        find_architecture("gemma-3-27b"), tokens=4096, new_tokens=512, batch=best.batch, cache="static",
        gpu=A100.gpu,
    )  # fmt: skip
    assert best.as_json()["per_gpu_bytes"] == [again.process_bytes]


def test_every_plan_fits_and_every_refusal_says_why_and_what_else() -> None:
    found = planned("llama-3.1-70b", A100, A40, V100, T4, tokens=8192, prompts=64)
    assert found.plans and found.refused
    for each in found.plans:
        assert each.estimate.fits(each.offer.gpu)
        assert isinstance(place(each.layout, each.offer), Nodes)
        assert each.low < each.tokens_per_s < each.high
        assert each.why.endswith(".")
    for refusal in found.refused:
        assert refusal.reason and refusal.nearest, refusal
    # 64 of 8 GiB are no use to 141 GB of weights: another type is named.
    assert {each.nearest for each in found.refused if each.offer.name == "T4"} != {""}


@pytest.mark.parametrize(
    ("offer", "build", "reason", "nearest"),
    [
        (V100, None, "has no bfloat16", "float16"),
        (V100, "cu130", "PyTorch's build cu130 has no code for compute capability 7.0", "cu126"),
        (A40, "cu130", None, None),
    ],
)
def test_what_a_gpu_cannot_compute_in(
    offer: Offer, build: str | None, reason: str | None, nearest: str | None
) -> None:
    found = planned("llama-3.1-8b", offer, build=build, dtypes=("bfloat16",))
    if reason is None:
        assert found.plans
        return
    assert not found.plans
    (refusal,) = found.refused
    assert reason in refusal.reason
    assert nearest is not None and nearest in refusal.nearest


def test_float16_is_the_nearest_only_where_some_of_it_works() -> None:
    half = {each.offer.name: each.nearest for each in planned("llama-3.1-8b", V100, T4).refused
            if "no bfloat16" in each.reason}  # fmt: skip
    assert half["V100"] == "float16, where the model keeps to its range"
    none = planned("llama-3.1-70b", replace(T4, most_nodes=1, per_node=2), A40).refused
    (nearest,) = (each.nearest for each in none if "no bfloat16" in each.reason)
    assert "A40" in nearest


def test_vllm_leaves_out_what_it_has_no_kernels_for() -> None:
    found = planned("llama-3.1-8b", V100, engine="vllm", dtypes=("float16",))
    assert not found.plans
    assert "vLLM's published builds start at compute capability 7.5" in found.refused[0].reason
    fp8 = planned("llama-3.1-8b", T4, engine="vllm", dtypes=("fp8",)).refused[0]
    assert "fp8 kernels start at compute capability 8.0" in fp8.reason


def test_vllm_plans_say_how_many_requests_run_at_a_time() -> None:
    best = planned("llama-3.1-8b", A40, engine="vllm", prompts=500, dtypes=("bfloat16",)).plans[0]
    assert 1 < best.batch <= best.estimate.figures["max_concurrency"]


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Layout(data=2, tensor=4), Nodes(1, 8)),
        (Layout(pipeline=2, tensor=8), Nodes(2, 8)),
        (Layout(data=4, tensor=8), Nodes(4, 8)),
        (Layout(data=12), "12 are no whole number of nodes of 8"),
        (Layout(tensor=16), "tensor ranks add up twice in every layer"),
        (Layout(data=64), "a job may have 32 of them, not 64"),
    ],
)
def test_where_a_layout_stands(layout: Layout, expected: Nodes | str) -> None:
    found = place(layout, A100)
    assert found == expected or (isinstance(expected, str) and isinstance(found, str) and expected in found)


def test_nodes_that_are_not_there() -> None:
    assert "2 nodes and there is 1" in str(place(Layout(data=16), replace(A100, nodes=1)))
    assert "4 nodes and a job may have 2" in str(place(Layout(data=32), replace(A100, most_nodes=2)))


def test_odd_heads_get_their_own_tensor_sizes() -> None:
    found = planned("smollm2-135m", A40, dtypes=("bfloat16",))
    refused = {each.layout: each.reason for each in found.refused}
    assert "9 attention heads" in refused[Layout(tensor=2)]
    assert Layout(tensor=3) not in refused


def test_nothing_fits_anywhere() -> None:
    found = planned("deepseek-v3", T4)
    assert not found.plans
    assert all("GiB more than" in each.reason or "layers" in each.reason or "no bfloat16" in each.reason
               or "tensor" in each.reason or "nodes" in each.reason for each in found.refused)  # fmt: skip
    assert {each.nearest for each in found.refused} >= {
        "fewer tokens, a smaller batch, fewer bits or a smaller model"
    }


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"tokens": 0}, "tokens 0 is out of range"),
        ({"tokens": 100, "new_tokens": 100}, "leave nothing of 100 tokens"),
        ({"prompts": 0}, "prompts 0 is out of range"),
        ({"batch": 0}, "batch 0 is out of range"),
        ({"engine": "megatron"}, "engine 'megatron' is not planned for; choices: transformers, vllm"),
        ({"deadline_hours": 0.0}, "a deadline in 0 hours"),
        ({"tokens": 10**6}, "more than the 131,072 positions"),
    ],
)
def test_bad_input_is_one_sentence(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(WorkshopError, match=sentence):
        planned("llama-3.1-8b", A40, **fields)


def test_an_unknown_precision_is_told_once() -> None:
    with pytest.raises(WorkshopError, match="precision 'bf17' is not known; choose one of float32, bfloat16"):
        planned("llama-3.1-8b", A40, dtypes=("bf17",))


def test_transformers_plans_only_what_its_programs_load() -> None:
    found = planned("llama-3.1-8b", A40, dtypes=("fp8",))
    assert not found.plans
    assert "fp8 is not planned for with transformers, only bfloat16" in found.refused[0].reason
    assert found.refused[0].nearest == "--engine vllm"


def test_late_plans_come_by_time_so_that_the_first_is_the_closest() -> None:
    found = planned("llama-3.1-8b", A40, A100, tokens=8192, prompts=100_000, deadline_hours=0.1)
    assert not any(each.in_time for each in found.plans)
    times = [each.seconds for each in found.plans]
    assert times == sorted(times)


def test_only_the_smallest_of_16_bits_is_called_the_smallest() -> None:
    found = planned("llama-3.1-70b", replace(A100, name="H200", gpu=find_gpu("H200")), A100, tokens=8192)
    for each in found.plans:
        if "is the smallest GPU here" in each.why:
            assert each.dtype == "bfloat16"


def test_a_batch_leaves_some_room_and_what_does_not_says_so() -> None:
    found = planned("llama-3.1-70b", A100, A40, tokens=8192, prompts=200)
    for each in found.plans:
        share = each.estimate.fullest.process_bytes / each.offer.gpu.usable_bytes
        assert share <= 1
        assert each.batch == 1 or share <= 0.97
        assert ("hardly any room" in each.why) == (share > 0.97)


def test_vllm_never_takes_more_than_there_is() -> None:
    small = Offer("2080", find_gpu("RTX 2080 Ti"), 10, 2, 2, 2, 12)
    found = planned("llama-3.1-8b", small, engine="vllm", tokens=8192, prompts=100)
    for each in found.plans:
        assert each.estimate.fullest.process_bytes <= each.offer.gpu.usable_bytes


def test_what_is_published_in_fewer_bits_is_planned_as_it_is() -> None:
    best = planned("gpt-oss-20b", A100, engine="vllm").plans[0]
    assert best.dtype == "mxfp4"
    assert "compare the answers" not in best.why
