"""What a request asks for, by the rules that stand in ``request.py``."""

from dataclasses import replace

import pytest

from tests.cluster.plans import ACCOUNT, all_plans, first, plans, site_of
from workshop_utils.cluster.programs import program_of
from workshop_utils.cluster.request import hours_needed, hours_of, request_of, safe_name
from workshop_utils.cluster.sbatch_script import render
from workshop_utils.cluster.site_rules import check_script
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
    for none in (-1, 0):
        with pytest.raises(WorkshopError, match=f"{none} hours are no time for a job"):
            request_of(plan, UVA, hours=none)


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
    assert fewer.command[:2] == ("python", "-c")
    # The plan's own batch, prompt and answer, so that its memory is tried; its peak to compare with.
    name, bits, computing, batch, prompt, new, peak = fewer.command[3:10]
    assert (name, bits, computing) == ("google/gemma-3-27b-it", "nf4", "bfloat16")
    assert int(batch) >= 1 and (prompt, new) == ("7680", "512") and float(peak) > 10
    compile(fewer.command[2], "generate", "exec")
    served, _ = first("uva", "llama-3.1-70b", "vllm", gpu="A100-80GB", tensor=4, dtype="bfloat16")
    assert served.launcher == "vllm" and "--tensor-parallel-size 4" in " ".join(served.command)
    nodes, _ = first("uva", "llama-3.1-70b", nodes=2, data=1)
    assert (nodes.launcher, nodes.nodes) == ("torchrun", 2)


def test_a_models_own_folder_reaches_the_command() -> None:
    plan = plans("uva", "llama-3.1-8b")[0]
    request = request_of(plan, UVA, model="/scratch/me/my model")
    assert "/scratch/me/my model" in request.command


def test_only_what_a_program_loads_is_written() -> None:
    plan = plans("uva", "llama-3.1-8b")[0]
    with pytest.raises(WorkshopError, match="no program here loads fp8 with transformers; give --dtype"):
        program_of(replace(plan, dtype="fp8"), 1, "llama-3.1-8b")
    # The V100 has no bfloat16 to compute in.
    old = next(each for each in plans("uva", "llama-3.1-8b") if each.offer.name == "V100")
    assert program_of(replace(old, dtype="nf4"), 1, "llama-3.1-8b").command[4:6] == ("nf4", "float16")


def test_a_quantised_checkpoint_of_vllm_is_the_readers_own() -> None:
    request, site = first("uva", "llama-3.1-70b", "vllm", dtype="awq-int4-g128", nodes=1)
    assert request.command[2] == "MODEL-AWQ" and "MODEL-AWQ" in request.client
    assert "--quantization" not in request.command
    assert "MODEL-AWQ stands for a checkpoint of meta-llama" in " ".join(request.notes)
    (problem,) = check_script(render(request, site), site)
    assert problem.kind == "placeholder" and problem.sentence.startswith("MODEL-AWQ stands for")
    assert problem.line and "MODEL-AWQ" in render(request, site).splitlines()[problem.line - 1]


def test_a_job_says_what_it_loads_and_how_much_it_runs() -> None:
    twin, _ = first("uva", "gemma-3-27b", gpu="A100-80GB", dtype="bfloat16", tensor=1, pipeline=1)
    said = " ".join(twin.notes)
    assert "--twin" in twin.command and "weights are loaded" not in said
    assert "random weights of the true shape; nothing is downloaded. It runs one batch" in said
    real, _ = first("uva", "gemma-3-27b", dtype="nf4")
    assert "of weights are loaded before" in " ".join(real.notes)
