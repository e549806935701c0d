"""Weights and activations as vLLM makes them, by hand, and what must hold for every model."""

from dataclasses import replace

import pytest

from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.engines.vllm import WEIGHTS
from workshop_utils.memory.vllm.activations import peak_pieces
from workshop_utils.memory.vllm.budget import plan
from workshop_utils.memory.vllm.moe import workspace_bytes
from workshop_utils.memory.vllm.piece import total
from workshop_utils.memory.vllm.releases import find_release
from workshop_utils.memory.vllm.sampler import made_pieces, runner_state_bytes
from workshop_utils.memory.vllm.settings import Settings, settle
from workshop_utils.memory.vllm.stages import cut
from workshop_utils.memory.vllm.weights import Storage, allocated_bytes, bytes_by_part, rank_tensors
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.catalogue import load_catalogue
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import PARTS, count_parameters
from workshop_utils.units import GIB, MIB

PLAIN = Storage(lambda part: 16, 16)
MODELS = [entry.name for entry in load_catalogue()]
GENERATING = [name for name in MODELS if not find_architecture(name).encoder]


def settings_of(architecture: Architecture, version: str, **chosen: int) -> Settings:
    return settle(architecture, find_release(version), find_gpu("H200"), **{"length": 8192, **chosen})


@pytest.mark.parametrize(
    ("size", "counted"),
    [
        (1, 512),
        (9 * MIB, 9 * MIB),
        (10 * MIB + 1, 10 * MIB + 1),  # 2 MiB less a byte would remain: that is split off
        (11 * MIB, 12 * MIB),
        (259 * MIB, 260 * MIB),
        (40 * MIB + MIB // 2, 40 * MIB + MIB // 2),
        (260 * MIB, 260 * MIB),
    ],
)
def test_the_allocator_hands_out_what_it_does_not_split(size: int, counted: int) -> None:
    assert allocated_bytes(size) == counted


@pytest.mark.parametrize(
    ("size", "counted"),
    [(18 * MIB + MIB // 2, 18 * MIB + MIB // 2), (384 * MIB + MIB // 2, 386 * MIB), (48 * MIB, 48 * MIB)],
)
def test_an_allocator_that_splits_no_large_block_hands_out_all_of_it(size: int, counted: int) -> None:
    assert allocated_bytes(size, unsplit=True) == counted


@pytest.mark.parametrize(
    ("name", "ranks", "unused"),
    [
        # A table of 131,072 × 128 leaves two blocks of 32 MiB and one of 64, which Q, K and V (48 MiB) take.
        ("llama-3.1-8b", 1, 16 * MIB),
        # Down (56 MiB) takes that of 64, and Q, K and V (24 MiB) of two layers those of 32.
        ("llama-3.1-8b", 2, 24 * MIB),
        # 32,768 × 128: none of 20 MiB.
        ("mistral-small-24b", 1, 0),
    ],
)
def test_weights_leave_the_ends_of_blocks_of_rotary_tables(name: str, ranks: int, unused: int) -> None:
    (stage,) = cut(find_architecture(name), ranks, 1)
    assert bytes_by_part(stage, PLAIN, unsplit=True).get("block ends", 0) == unused
    assert "block ends" not in bytes_by_part(stage, PLAIN)


@pytest.mark.parametrize("name", GENERATING)
def test_one_rank_holds_every_parameter_once(name: str) -> None:
    architecture = find_architecture(name)
    (stage,) = cut(architecture, 1, 1)
    held: dict[str, int] = {}
    for tensor in rank_tensors(stage):
        held[tensor.part] = held.get(tensor.part, 0) + tensor.copies * tensor.values
    held = {part: values for part, values in held.items() if values and part != "rotary tables"}
    padding = (stage.rows - architecture.vocabulary_size) * architecture.hidden_size
    for part in {"embedding", "head"} & held.keys():
        held[part] -= padding
    counted = count_parameters(architecture).by_part
    learned = architecture.position_values
    assert held == counted | ({"embedding": counted["embedding"] - learned} if learned else {})


def test_every_part_of_the_weights_has_a_formula() -> None:
    assert set(PARTS) | {"rotary tables", "block ends"} == set(WEIGHTS)


@pytest.mark.parametrize("name", ["llama-3.1-70b", "gemma-3-27b", "qwen3-30b-a3b", "deepseek-v2-lite"])
def test_two_ranks_hold_the_whole_and_their_copies(name: str) -> None:
    architecture = find_architecture(name)
    whole, half = (bytes_by_part(cut(architecture, ranks, 1)[0], PLAIN) for ranks in (1, 2))
    for part in whole:
        assert whole[part] / 2 * 0.99 < half[part] <= whole[part], part
    assert half["rotary tables"] == whole["rotary tables"]
    assert half["norms"] == whole["norms"]


def test_a_tied_head_is_a_copy_on_another_stage() -> None:
    architecture = find_architecture("gemma-2-2b")
    assert "head" not in bytes_by_part(cut(architecture, 1, 1)[0], PLAIN)
    first, last = (bytes_by_part(stage, PLAIN) for stage in cut(architecture, 1, 2))
    assert first["embedding"] == last["head"] == allocated_bytes(256000 * 2304 * 2)
    assert "head" not in first


def test_gemma_3_stretches_the_rotary_table_of_its_full_layers() -> None:
    # 131,072 positions × 256 × 2 bytes for the sliding layers, eight times as many for the full ones.
    (stage,) = cut(find_architecture("gemma-3-4b"), 1, 1)
    assert bytes_by_part(stage, PLAIN)["rotary tables"] == 9 * 131072 * 256 * 2


def test_the_older_runners_sampler_by_hand() -> None:
    architecture = find_architecture("llama-3.1-8b")
    pieces = peak_pieces(cut(architecture, 1, 1)[0], settings_of(architecture, "0.19"))
    sizes = {piece.name: piece.bytes for piece in pieces}
    assert sizes == {
        "cuBLAS workspace": 32 * MIB,
        "hidden states": (8192 + 2 * 1024) * 4096 * 2,
        "sampler": 1024 * 128256 * 14,
        "top-k buffer": 132 * 128256 * 4,
    }


def test_with_a_small_vocabulary_the_forward_pass_is_the_peak() -> None:
    architecture = find_architecture("codellama-7b")
    pieces = peak_pieces(cut(architecture, 1, 1)[0], settings_of(architecture, "0.19"))
    sizes = {piece.name: piece.bytes for piece in pieces}
    assert sizes["widest layer"] == 8192 * 3 * 11008 * 2
    assert sizes["hidden states"] == 3 * 8192 * 4096 * 2
    assert "sampler" not in sizes


def test_the_embedding_stands_twice_before_any_product_of_matrices() -> None:
    architecture = find_architecture("gemma-2-9b")
    pieces = peak_pieces(cut(architecture, 1, 1)[0], settings_of(architecture, "0.26"))
    assert {piece.name: piece.bytes for piece in pieces} == {
        "embedding, a second time": 256000 * 3584 * 2,
        "hidden states": 2 * 8192 * 3584 * 2,
    }
    # The second stage has none.
    first, second = cut(architecture, 1, 2)
    settings = settings_of(architecture, "0.26", pipeline_parallel=2)
    assert total(peak_pieces(first, settings)) > total(peak_pieces(second, settings))


def test_tensor_ranks_gather_logits_beside_their_share_and_copy_them() -> None:
    architecture = find_architecture("llama-3.1-8b")
    pieces = peak_pieces(cut(architecture, 2, 1)[0], settings_of(architecture, "0.26", tensor_parallel=2))
    assert {piece.name: piece.bytes for piece in pieces} == {
        "cuBLAS workspace": 32 * MIB,
        "hidden states": (8192 + 1024) * 4096 * 2,
        "logits, gathered": 1024 * 128256 * 5,
    }


def test_a_soft_cap_makes_the_logits_anew() -> None:
    architecture = find_architecture("gemma-2-9b")
    (stage,) = cut(architecture, 1, 1)
    settings = settings_of(architecture, "0.26")
    assert total(made_pieces(stage, settings)) == 2 * 1024 * 256000 * 2
    plain = replace(architecture, model_type="llama")
    assert total(made_pieces(cut(plain, 1, 1)[0], settings)) == 1024 * 256000 * 2


def test_the_newer_runner_samples_in_place_and_keeps_counts_for_penalties() -> None:
    architecture = find_architecture("gemma-3-4b")
    (stage,) = cut(architecture, 1, 1)
    old, new = (peak_pieces(stage, settings_of(architecture, version)) for version in ("0.21", "0.26"))
    assert "images of the profiling run" in {piece.name for piece in old}
    assert "images of the profiling run" not in {piece.name for piece in new}
    # What is left is the second embedding, not the sampler.
    assert "embedding, a second time" in {piece.name for piece in new}
    assert total(new) < total(old) / 2
    state = runner_state_bytes(stage, settings_of(architecture, "0.26"))
    assert state == 4 * 1024 * (262208 + 262208 // 32)
    assert runner_state_bytes(stage, settings_of(architecture, "0.21")) == 0


def test_the_counts_lie_in_the_budget_since_0_27() -> None:
    architecture = find_architecture("llama-3.1-8b")
    before, after = (
        plan(architecture, settings_of(architecture, version), PLAIN).stages[0]
        for version in ("0.26", "0.27")
    )
    assert before.available_bytes - after.available_bytes == before.runner_state_bytes > GIB / 3


def test_the_workspace_of_the_experts_by_hand_and_kept_beside_the_sampler() -> None:
    architecture = find_architecture("qwen3-30b-a3b")
    experts = architecture.layers[0].experts
    assert experts is not None
    # 8 of 128 experts of width 768, hidden 2048: both buffers are as wide as the hidden state.
    assert workspace_bytes(experts, 2048, 8192, 1, 2) == 8192 * 8 * (2048 + 2048) * 2
    pieces = {
        piece.name: piece.bytes
        for piece in peak_pieces(cut(architecture, 1, 1)[0], settings_of(architecture, "0.26"))
    }
    assert pieces["workspace of the experts"] == GIB // 2
    assert pieces["sampler"] == 1024 * 151936 * 14
    # Mixtral: 2 of width 14336, hidden 4096: product and fused projection are wider.
    mixtral = find_architecture("mixtral-8x7b").layers[0].experts
    assert mixtral is not None
    assert workspace_bytes(mixtral, 4096, 8192, 2, 2) == 8192 * 2 * (7168 + 14336) * 2


@pytest.mark.parametrize("version", ["0.19", "0.26", "0.33"])
@pytest.mark.parametrize("name", GENERATING)
def test_every_model_has_a_budget_and_more_of_anything_leaves_less(name: str, version: str) -> None:
    architecture = find_architecture(name)
    settings = settings_of(architecture, version)
    budget = plan(architecture, settings, PLAIN)
    (stage,) = budget.stages
    assert stage.weights_bytes > 0
    assert 0 < stage.activation_bytes < 30 * GIB
    for more in ("batched_tokens", "sequences"):
        doubled = plan(architecture, replace(settings, **{more: 2 * getattr(settings, more)}), PLAIN)
        assert doubled.stages[0].activation_bytes >= stage.activation_bytes
    assert budget.pool.blocks * budget.pool.block_bytes[0] <= max(0, stage.available_bytes)
