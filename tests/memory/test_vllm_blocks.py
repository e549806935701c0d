"""vLLM's blocks: groups, reservations and the longest request, by hand."""

from dataclasses import replace

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.vllm.blocks import Pool, groups, make_pool
from workshop_utils.memory.vllm.releases import find_release
from workshop_utils.memory.vllm.settings import Settings, settle
from workshop_utils.memory.vllm.stages import cut
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture


def settings_of(architecture: Architecture, version: str = "0.33", **chosen: int) -> Settings:
    return settle(architecture, find_release(version), find_gpu("H100-80GB"), **{"length": 32768, **chosen})


def test_gemma_3_27b_has_seven_groups_of_ten_layers() -> None:
    # 52 sliding and 10 full layers: six groups of sliding ones, the last with padding, and one of full ones.
    architecture = find_architecture("gemma-3-27b")
    found = groups(architecture, settings_of(architecture))
    assert sorted(len(group.layers) for group in found) == [8, 8, 9, 9, 9, 9, 10]
    assert sum(group.spec.window is None for group in found) == 1
    # 16 KV heads × 128 × 2 × 2 bytes × 16 tokens
    assert {group.spec.page_bytes for group in found} == {16 * 16 * 128 * 2 * 2}


def test_kinds_of_nearly_equal_number_are_padded_to_the_longer() -> None:
    architecture = find_architecture("gpt-oss-20b")
    assert [len(group.layers) for group in groups(architecture, settings_of(architecture))] == [12, 12]


def test_a_full_layer_of_half_the_width_gets_blocks_of_twice_the_tokens() -> None:
    # Gemma 4: sliding 8 KV heads × 256, full 2 × 512.
    architecture = find_architecture("gemma-4-26b-a4b")
    tokens = {
        group.spec.window: group.spec.tokens for group in groups(architecture, settings_of(architecture))
    }
    assert tokens == {1024: 16, None: 32}


@pytest.mark.parametrize(("version", "in_flight", "sliding"), [("0.19", 8192, 577), ("0.26", 16384, 1089)])
def test_a_sliding_layer_keeps_its_window_and_what_is_under_way(
    version: str, in_flight: int, sliding: int
) -> None:
    # ⌈(1023 + in flight) / 16⌉ + 1, and ⌈32768 / 16⌉ for the full layers.
    architecture = find_architecture("gemma-3-4b")
    settings = settings_of(architecture, version)
    assert settings.tokens_in_flight == in_flight
    pool = make_pool(architecture, cut(architecture, 1, 1), [50 << 30], settings)
    assert pool.request_blocks(32768) == 6 * sliding + 2048


def test_the_longest_request_fits_and_one_block_more_does_not() -> None:
    architecture = find_architecture("llama-3.1-8b")
    pool = make_pool(architecture, cut(architecture, 1, 1), [4 << 30], settings_of(architecture))
    # 4 GiB / (32 layers × 16 tokens × 4096 bytes) = 2048 blocks
    assert pool.blocks == 2048
    assert pool.longest(131072) == 2048 * 16
    assert pool.longest(1000) == 1000
    assert pool.concurrency(2048 * 16) == 1
    assert Pool(0, pool.block_bytes, pool.groups, pool.settings).longest(131072) == 0


def test_the_stage_with_the_fewest_blocks_decides() -> None:
    architecture = find_architecture("llama-3.1-8b")
    settings = settings_of(architecture, pipeline_parallel=2)
    stages = cut(architecture, 1, 2)
    pool = make_pool(architecture, stages, [8 << 30, 2 << 30], settings)
    assert pool.blocks == (2 << 30) // (16 * 16 * 4096)


def test_a_latent_is_copied_to_every_tensor_rank_and_heads_are_cut() -> None:
    for name, cut_in_two in (("deepseek-v2-lite", 1), ("llama-3.1-8b", 2)):
        architecture = find_architecture(name)
        whole, half = (
            groups(architecture, settings_of(architecture, tensor_parallel=ranks))[0].spec.page_bytes
            for ranks in (1, 2)
        )
        assert whole == cut_in_two * half, name


def test_more_ranks_than_kv_heads_keep_a_head_each() -> None:
    architecture = find_architecture("qwen2.5-7b")  # 4 KV heads of 128
    assert groups(architecture, settings_of(architecture, tensor_parallel=7))[0].spec.page_bytes == 16 * 512


def test_a_state_takes_one_block_and_makes_the_blocks_of_attention_longer() -> None:
    architecture = find_architecture("granite-4-h-small")
    found = groups(architecture, settings_of(architecture))
    attention = next(group.spec for group in found if not group.spec.state)
    state = next(group.spec for group in found if group.spec.state)
    assert attention.tokens > 16
    assert attention.tokens % 16 == 0
    assert state.page_bytes == attention.page_bytes
    assert state.blocks(10**6, 8192) == 1


def test_layers_that_remain_go_to_the_stages_before_the_last() -> None:
    architecture = find_architecture("gemma-3-4b")
    assert [len(stage.layers) for stage in cut(architecture, 1, 4)] == [8, 9, 9, 8]
    assert [stage.first_layer for stage in cut(architecture, 1, 4)] == [0, 8, 17, 26]


def test_a_model_without_attention_is_one_sentence() -> None:
    architecture = find_architecture("granite-4-h-small")
    states = tuple(layer for layer in architecture.layers if layer.attention.state_values)
    with pytest.raises(WorkshopError, match="choose the engine transformers"):
        bare = replace(architecture, layers=states)
        groups(bare, settings_of(bare))
