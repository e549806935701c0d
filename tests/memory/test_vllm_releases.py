"""What vLLM decides by its version and by the GPU."""

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.vllm.releases import batch_defaults, constants, find_release
from workshop_utils.memory.vllm.settings import settle
from workshop_utils.models.find import find_architecture


@pytest.mark.parametrize(
    ("version", "share"),
    [("0.19.1", 0.90), ("v0.20.0", 0.92), ("0.33.0", 0.92), ("1.2.0", 0.92), (None, 0.92)],
)
def test_the_default_share_of_the_gpu(version: str | None, share: float) -> None:
    assert find_release(version).gpu_memory_utilization == share


@pytest.mark.parametrize("version", ["0.18.1", "0.6.4.post1", "newest", "", "0"])
def test_another_version_is_one_sentence_with_the_range(version: str) -> None:
    with pytest.raises(WorkshopError, match=r"from 0\.19 to 0\.33"):
        find_release(version)


@pytest.mark.parametrize(
    ("gpu", "version", "expected"),
    [
        ("H100-80GB", "0.19", (8192, 1024)),
        ("H200", "0.33", (8192, 1024)),
        ("A100-80GB", "0.33", (2048, 256)),
        ("B200", "0.26", (8192, 1024)),
        ("B200", "0.28", (16384, 1024)),
        ("L40S", "0.33", (2048, 256)),
    ],
)
def test_batch_defaults_by_gpu_and_version(gpu: str, version: str, expected: tuple[int, int]) -> None:
    assert batch_defaults(find_release(version), find_gpu(gpu)) == expected


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        ("0.21", set()),
        ("0.23", {"llama-3.1-8b", "qwen3-8b"}),
        ("0.24", {"llama-3.1-8b", "qwen3-8b", "deepseek-v2-lite"}),
        ("0.26", {"llama-3.1-8b", "qwen3-8b", "deepseek-v2-lite", "gemma-3-4b", "phi-4"}),
        ("0.29", {
            "llama-3.1-8b", "qwen3-8b", "deepseek-v2-lite", "gemma-3-4b", "phi-4", "qwen3-30b-a3b",
            "granite-4-h-small",
        }),
    ],
)  # fmt: skip
def test_models_that_the_newer_runner_takes(version: str, taken: set[str]) -> None:
    names = (
        "llama-3.1-8b", "qwen3-8b", "deepseek-v2-lite", "gemma-3-4b", "phi-4", "qwen3-30b-a3b",
        "granite-4-h-small",
    )  # fmt: skip
    release = find_release(version)
    assert {name for name in names if release.takes_second_runner(find_architecture(name))} == taken


@pytest.mark.parametrize(
    ("version", "model", "counted"),
    [
        ("0.19", "llama-3.1-8b", False),
        ("0.21", "llama-3.1-8b", True),
        ("0.26", "llama-3.1-8b", False),
        ("0.26", "qwen3-30b-a3b", True),
        ("0.29", "llama-3.1-8b", True),
    ],
)
def test_graphs_are_taken_off_the_budget(version: str, model: str, counted: bool) -> None:
    architecture = find_architecture(model)
    settings = settle(architecture, find_release(version), find_gpu("H200"), length=8192)
    assert settings.counts_graphs is counted


@pytest.mark.parametrize(
    ("version", "stages", "batches"),
    [("0.19", 1, 1), ("0.25", 4, 1), ("0.26", 1, 2), ("0.26", 4, 5), ("0.33", 2, 3)],
)
def test_batches_in_flight(version: str, stages: int, batches: int) -> None:
    architecture = find_architecture("llama-3.1-8b")
    release = find_release(version)
    settings = settle(architecture, release, find_gpu("H200"), length=8192, pipeline_parallel=stages)
    assert settings.tokens_in_flight == batches * 8192


@pytest.mark.parametrize("share", [0, -0.1, 1.01])
def test_a_share_outside_the_gpu_is_one_sentence(share: float) -> None:
    with pytest.raises(WorkshopError, match="above 0 and up to 1"):
        settle(
            find_architecture("llama-3.1-8b"), find_release(), find_gpu("H200"), length=1, utilization=share
        )


@pytest.mark.parametrize(
    ("length", "given", "sizes"),
    [
        (8192, {}, (8192, 1024)),
        (8192, {"batched_tokens": 512}, (512, 512)),
        (1024, {"sequences": 4}, (4096, 4)),
        (1024, {"sequences": 4, "batched_tokens": 16384}, (16384, 4)),
        (2, {}, (2048, 1024)),
    ],
)
def test_a_default_of_the_batch_keeps_within_what_is_given(
    length: int, given: dict[str, int], sizes: tuple[int, int]
) -> None:
    settings = settle(
        find_architecture("llama-3.1-8b"), find_release(), find_gpu("H200"), length=length, **given
    )
    assert (settings.batched_tokens, settings.sequences) == sizes


def test_versions_stand_in_order() -> None:
    versions = [tuple(map(int, table["version"].split("."))) for table in constants()["since"]]
    assert versions == sorted(versions)
