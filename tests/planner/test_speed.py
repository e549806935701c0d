"""Predicted times beside every recorded run of the three runners, on H100 and H200."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.parallel.spec import FAMILIES
from workshop_utils.planner.layout import Layout
from workshop_utils.planner.offer import Offer
from workshop_utils.planner.speed import (
    OWN_FAMILIES,
    Replica,
    Speed,
    Text,
    read_bytes,
    runner_of,
    runners,
)

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded"
FILES = (
    "one_h100_workshop", "two_h200_workshop", "two_h200_vllm", "two_h100_references", "mixture_one_h200",
)  # fmt: skip
# Programs that no plan speaks about: torch.compile on transformers, gpt-fast, tricks left out, other sums.
OTHERS = ("compiled", "gpt-fast", "without", "sums by")
# Below, a prefill is launches and the machine's mood: recorded ones of 128 tokens scatter threefold.
LONG_PROMPT = 2048


def rows() -> list[dict[str, Any]]:
    found = [row for name in FILES for row in json.loads((RECORDED / f"{name}.json").read_text())]
    return [row for row in found if not any(word in row["what"] for word in OTHERS)]


def predicted(row: dict[str, Any]) -> tuple[Speed, Layout]:
    settings = row["settings"]
    ranks, strategy = settings.get("ranks", 1), settings.get("strategy")
    layout = Layout(
        data=ranks if strategy == "data" else 1,
        tensor=ranks if strategy == "tensor" else 1,
        pipeline=ranks if strategy in ("pipeline", "layers split") or "layers split" in row["what"] else 1,
    )
    gpu = find_gpu("H200" if "H200" in row["hardware"] else "H100-80GB")
    offer = Offer("node", gpu, 8, 1, 8, 1, 72, link="nvlink")
    architecture = find_architecture(settings["model"])
    engine = settings["engine"]
    runner = runners()[engine if engine in runners() else "transformers"]
    if layout.pipeline > 1 and settings.get("micro_batches", 1) == 1:
        runner = replace(runner, micro_batches=False)
    text = Text(settings["batch"], settings["tokens"] or 128, settings.get("new_tokens") or 128)
    weights = 2 * count_parameters(architecture).total
    return Replica(architecture, runner, offer, layout, weights).speed(text), layout


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['hardware']}-{row['what']}".replace(" ", "_"))
def test_recorded_runs_lie_within_the_range(row: dict[str, Any]) -> None:
    speed, layout = predicted(row)
    settings, values = row["settings"], row["values"]
    engine = settings["engine"]
    runner = runners()[engine if engine in runners() else "transformers"]
    prompt_tokens = (settings["tokens"] or 128) * settings["batch"]
    compared = 0
    if "tokens_per_s" in values:
        expected = settings["batch"] * layout.data / speed.step_s
        assert values["tokens_per_s"]["value"] == pytest.approx(expected, rel=runner.range)
        compared += 1
    if "ttft_ms" in values and prompt_tokens >= LONG_PROMPT:
        # A prefill is a few hundred launches of very different sizes; half as much again is allowed for it.
        allowed = 1.5 * runner.range
        assert values["ttft_ms"]["value"] == pytest.approx(speed.prefill_s * 1e3, rel=allowed)
        compared += 1
    assert compared


def test_the_recordings_are_many_and_of_every_runner() -> None:
    found = rows()
    assert len(found) >= 40
    assert {row["settings"]["engine"] for row in found} >= {"this workshop", "vLLM"}


def test_own_families_are_those_that_the_strategies_split() -> None:
    assert OWN_FAMILIES == FAMILIES


def test_the_runner_depends_on_engine_family_and_precision() -> None:
    llama, falcon = find_architecture("llama-3.1-8b"), find_architecture("deepseek-v3")
    assert runner_of(llama, "vllm", "bfloat16").name == "vLLM"
    assert runner_of(llama, "transformers", "bfloat16").name == "this workshop"
    assert runner_of(llama, "transformers", "nf4").name == "transformers"
    assert runner_of(falcon, "transformers", "bfloat16").name == "transformers"


def test_a_mixture_reads_more_experts_the_more_sequences() -> None:
    mixture = find_architecture("qwen3-30b-a3b")
    whole = 2 * count_parameters(mixture).total
    reads = [read_bytes(mixture, whole, batch) for batch in (1, 8, 64, 100_000)]
    assert reads == sorted(reads)
    assert reads[0] == pytest.approx(2 * count_parameters(mixture).active, rel=0.15)
    assert reads[-1] == pytest.approx(whole, rel=0.02)
    dense = find_architecture("llama-3.1-8b")
    assert read_bytes(dense, 16, 1) == read_bytes(dense, 16, 64)


def test_a_slow_link_makes_tensor_parallel_slower() -> None:
    architecture = find_architecture("llama-3.1-8b")
    text, weights = Text(1, 512, 128), 2 * count_parameters(architecture).total
    found = {}
    for link in ("nvlink", "pcie"):
        offer = Offer("node", find_gpu("A40"), 8, 1, 8, 1, 72, link=link)  # type: ignore[arg-type]
        for ranks in (1, 2, 8):
            runner = runners()["vLLM"]
            speed = Replica(architecture, runner, offer, Layout(tensor=ranks), weights).speed(text)
            found[link, ranks] = speed.step_s
    assert found["nvlink", 1] == found["pcie", 1]
    assert found["nvlink", 8] < found["nvlink", 2] < found["nvlink", 1]
    assert found["pcie", 8] > found["nvlink", 8]
