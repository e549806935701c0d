"""What a request asks for, by the rules that stand in ``request.py``."""

from dataclasses import replace

import pytest

from tests.cluster.plans import ACCOUNT, all_plans, first, plans, site_of
from workshop_utils.cluster.request import hours_needed, hours_of, request_of, safe_name
from workshop_utils.errors import WorkshopError
from workshop_utils.units import GB, GIB

UVA, EXAMPLE = site_of("uva"), site_of("example")


@pytest.mark.parametrize("site", [UVA, EXAMPLE], ids=lambda site: site.name)
def test_every_request_stays_within_its_site_and_holds_its_plan(site) -> None:  # type: ignore[no-untyped-def]
    for plan in all_plans(site.name):
        request = request_of(plan, site, ACCOUNT)
        group = request.group
        assert request.gpus * (request.array or 1) == plan.gpus
        assert request.gpus_per_node <= group.per_node
        assert request.nodes == 1 or request.gpus_per_node == group.per_node
        assert request.cores_per_node <= (group.cores or request.cores_per_node)
        assert request.memory_gib * GIB <= (group.memory_bytes or 10**15)
        weights = plan.estimate.weights_bytes / request.nodes
        assert request.memory_gib * GIB >= min(weights, group.memory_bytes or weights)
        assert request.hours <= group.partition.most_hours
        assert request.hours * 4 == int(request.hours * 4)
        slow_end = plan.seconds * plan.tokens_per_s / plan.low / 3600
        assert request.hours >= min(slow_end * 1.3, group.partition.most_hours)


def test_the_constraint_is_the_fast_one_only_where_gpus_talk() -> None:
    alone, _ = first("uva", "llama-3.1-8b", gpu="A100-80GB", tensor=1, pipeline=1, data=1)
    copies, _ = first("uva", "smollm2-135m", gpu="A100-80GB", tensor=1, pipeline=1, data=2)
    talking, _ = first("uva", "llama-3.1-70b", gpu="A100-80GB", tensor=4)
    small, _ = first("uva", "gemma-3-27b", gpu="A100-40GB", tensor=2)
    assert [each.constraint for each in (alone, copies, talking, small)] == [
        "a100_80gb", "a100_80gb", "gpupod", "a100_40gb",
    ]  # fmt: skip


def test_replicas_become_an_array_of_jobs() -> None:
    request, _ = first("uva", "llama-3.1-70b", "vllm", gpu="A100-80GB", data=4, tensor=4)
    assert (request.array, request.nodes, request.gpus_per_node) == (4, 1, 4)


def test_hours_count_the_slow_end_a_margin_and_loading() -> None:
    plan = plans("uva", "llama-3.1-70b", "vllm")[0]
    slow = replace(plan, seconds=36_000.0, tokens_per_s=100.0, low=50.0)
    loading = (300 + plan.estimate.weights_bytes / (0.5 * GB)) / 3600
    assert hours_needed(slow) == pytest.approx(20 * 1.3 + loading)
    assert hours_of(slow, 72) == 26.25
    assert hours_of(slow, 12) == 12
    # A proof runs a batch to warm up and once more: one prompt takes as long as two.
    one = replace(slow, seconds=100.0, ttft_s=100.0, tpot_s=0.0, low=100.0)
    assert hours_needed(one) == pytest.approx(200 * 1.3 / 3600 + loading)


def test_a_job_that_its_partition_ends_says_so() -> None:
    plan = replace(plans("example", "smollm2-135m")[0], seconds=3e6)
    request = request_of(plan, EXAMPLE)
    assert request.hours == request.group.partition.most_hours
    assert "write answers down as they come" in " ".join(request.notes)


def test_hours_of_the_reader_are_taken_up_to_the_limit() -> None:
    plan = plans("uva", "llama-3.1-8b")[0]
    assert request_of(plan, UVA, hours=0.1).hours == 0.1
    with pytest.raises(WorkshopError, match=r"500 hours are more than partition \w+ has; give at most \d+"):
        request_of(plan, UVA, hours=500)
    with pytest.raises(WorkshopError, match="-1 hours are no time for a job"):
        request_of(plan, UVA, hours=-1)


@pytest.mark.parametrize(
    "account", ["", "a b", "x;touch y", "$(id)", "a\n#SBATCH -p z", "--all", "é", "x" * 200]
)
def test_an_account_that_slurm_could_not_have_is_refused(account: str) -> None:
    with pytest.raises(WorkshopError, match="is no Slurm account"):
        request_of(plans("uva", "llama-3.1-8b")[0], UVA, account)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3.1-8b", "llama-3.1-8b"), ("my model's $(run)", "my-model-s-run"), ("--help", "help"),
        ("../../etc", "etc"), ("\n", "job"), ("模型", "job"), ("a" * 300, "a" * 64), (".hidden", "hidden"),
    ],
)  # fmt: skip
def test_names_in_a_safe_alphabet(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_the_command_proves_the_layout() -> None:
    tensor, _ = first("uva", "gemma-3-27b", gpu="A100-80GB", tensor=4, pipeline=1)
    words = " ".join(tensor.command)
    assert words.startswith(
        "workshop bench run --strategy tensor --model gemma-3-27b --twin --ranks 4 --tp 4"
    )
    assert "--tokens 7680 --new 512 --dtype bfloat16" in words
    fewer, _ = first("uva", "gemma-3-27b", dtype="nf4")
    assert fewer.command[:2] == ("python", "-c") and fewer.command[3:] == (
        "google/gemma-3-27b-it",
        "nf4",
        "64",
    )
    compile(fewer.command[2], "generate", "exec")
    served, _ = first("uva", "llama-3.1-70b", "vllm", gpu="A100-80GB", tensor=4, dtype="bfloat16")
    assert served.launcher == "vllm" and "--tensor-parallel-size 4" in " ".join(served.command)
    nodes, _ = first("uva", "llama-3.1-70b", nodes=2, data=1)
    assert (nodes.launcher, nodes.nodes) == ("torchrun", 2)


def test_a_models_own_folder_reaches_the_command() -> None:
    plan = plans("uva", "llama-3.1-8b")[0]
    request = request_of(plan, UVA, model="/scratch/me/my model")
    assert "/scratch/me/my model" in request.command
