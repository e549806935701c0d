"""The job of a plan with whole experts: the words that vLLM 0.26's command line wants."""

import functools

import pytest

from tests.cluster.plans import ACCOUNT, site_of
from workshop_utils.cluster.offers import offers
from workshop_utils.cluster.request import request_of
from workshop_utils.cluster.sbatch_script import render
from workshop_utils.cluster.site_rules import check_script
from workshop_utils.models.find import find_architecture
from workshop_utils.planner.plan import Plan
from workshop_utils.planner.planning import plan
from workshop_utils.planner.wanted import Wanted


@functools.cache
def spread(model: str, dtype: str) -> tuple[Plan, ...]:
    site = site_of("uva")
    wanted = Wanted(find_architecture(model), 32768, 4096, prompts=2000, engine="vllm", dtypes=(dtype,))
    found = plan(wanted, offers(site), site.torch_build).plans
    return tuple(each for each in found if each.layout.expert > 1)


def after(words: tuple[str, ...], option: str) -> int:
    return int(words[words.index(option) + 1])


@pytest.mark.parametrize(("model", "dtype"), [("deepseek-v3", "fp8"), ("deepseek-v2-lite", "bfloat16")])
def test_a_job_starts_the_engines_of_one_replica(model: str, dtype: str) -> None:
    assert spread(model, dtype)
    for each in spread(model, dtype):
        layout, request = each.layout, request_of(each, site_of("uva"), ACCOUNT)
        words = request.command
        assert "--enable-expert-parallel" in words
        assert after(words, "--data-parallel-size") == layout.engines
        assert after(words, "--tensor-parallel-size") == layout.tensor
        # vLLM counts the sequences of one engine, the client those of all.
        assert after(words, "--max-num-seqs") * layout.engines >= each.batch
        assert (request.nodes, request.gpus_per_node) == (1, layout.expert)
        assert request.array == (layout.copies if layout.copies > 1 else None)
        assert after(request.client, "--num-prompts") == -(-2000 // layout.copies)


def test_the_script_holds_to_the_site() -> None:
    script = render(request_of(spread("deepseek-v3", "fp8")[0], site_of("uva"), ACCOUNT), site_of("uva"))
    assert "--enable-expert-parallel --host 127.0.0.1" in script.replace(" \\\n ", "")
    assert check_script(script, site_of("uva")) == []


def test_replicas_without_common_experts_stay_servers_of_their_own() -> None:
    site = site_of("uva")
    wanted = Wanted(find_architecture("mixtral-8x7b"), 32768, 512, prompts=2000, engine="vllm")
    for each in plan(wanted, offers(site), site.torch_build).plans[:8]:
        words = request_of(each, site, ACCOUNT).command
        assert "--data-parallel-size" not in words and "--enable-expert-parallel" not in words
