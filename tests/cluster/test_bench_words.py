"""The default commands hold to the options that ``workshop bench run`` really has."""

import argparse

import pytest

from tests.cluster.plans import all_plans, site_of
from workshop_utils.cluster.request import request_of
from workshop_utils.parallel import bench_run_command
from workshop_utils.parallel.bench_case import BenchCase, split_of


@pytest.mark.parametrize("site", ["uva", "example"])
def test_every_command_parses_and_splits_as_planned(site: str) -> None:
    parser = argparse.ArgumentParser()
    bench_run_command.configure(parser)
    seen = 0
    for plan in all_plans(site):
        words = request_of(plan, site_of(site)).command
        if words[:3] != ("workshop", "bench", "run"):
            continue
        seen += 1
        asked = parser.parse_args(words[3:])
        (strategy,), (batch,), (tokens,) = asked.strategy, asked.batch, asked.tokens
        tensor, pipeline = split_of(strategy, asked.ranks, asked.tp, asked.pp)
        case = BenchCase(
            strategy, plan.estimate.model, asked.ranks, tensor, pipeline, twin=True, batch=batch,
            tokens=tokens, new=asked.new, dtype=asked.dtype, micro_batches=asked.micro_batches,
        )  # fmt: skip
        assert (case.layout.tensor, case.layout.pipeline) == (plan.layout.tensor, plan.layout.pipeline)
        assert (tokens + asked.new, batch) == (plan.wanted.tokens, plan.batch)
    assert seen > 20
