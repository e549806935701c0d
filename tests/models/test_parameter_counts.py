"""Parameter counts and shapes against facts recorded from the built models, to the digit."""

import json
from pathlib import Path

import pytest

from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import PARTS, count_parameters

FACTS = json.loads(Path(__file__).with_name("published_facts.json").read_text(encoding="utf-8"))["models"]
# The recorded facts have four parts of their own; all others are together in "other".
RECORDED = {"embed": "embedding", "lm_head": "head", "experts": "experts", "vision": "vision"}


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["hf_id"])
def test_counts_equal_the_recorded_facts_to_the_digit(fact: dict) -> None:
    counts = count_parameters(find_architecture(fact["hf_id"]))
    assert counts.total == fact["parameters"]
    recorded = fact["parameters_by_part"]
    assert {key: counts.by_part.get(part, 0) for key, part in RECORDED.items()} == {
        key: recorded.get(key, 0) for key in RECORDED
    }
    rest = sum(value for part, value in counts.by_part.items() if part not in RECORDED.values())
    assert rest == recorded["other"]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["hf_id"])
def test_shape_equals_the_recorded_facts(fact: dict) -> None:
    architecture = find_architecture(fact["hf_id"])
    kinds = architecture.layer_kinds
    assert len(architecture.layers) == fact["num_layers"]
    assert kinds.get("sliding", 0) == fact["sliding_attention_layers"]
    assert kinds.get("full", 0) + kinds.get("latent", 0) == fact["full_attention_layers"]
    assert {layer.attention.window for layer in architecture.layers} - {None} == (
        {fact["sliding_window"]} if fact["sliding_attention_layers"] else set()
    )
    assert {layer.attention.heads for layer in architecture.layers} == {fact["num_attention_heads"]}
    assert architecture.hidden_size == fact["hidden_size"]
    assert architecture.vocabulary_size == fact["vocab_size"]
    assert architecture.max_positions == fact["max_position_embeddings"]
    assert architecture.tied_embeddings == fact["tied_embeddings"]


def test_the_catalogue_has_the_recorded_facts_and_at_least_as_many_more() -> None:
    assert len(FACTS) == 16
    assert len(catalogue_names()) >= 32


def test_the_small_model_has_the_parameters_of_its_gguf_file() -> None:
    counts = count_parameters(find_architecture("smollm2-135m"))
    assert counts.total == 134_515_008
    assert "head" not in counts.by_part


def test_granite_has_the_parameters_that_a_public_table_counts_for_its_successor() -> None:
    # Granite 3.3 8B has this shape with four more rows in its vocabulary.
    architecture = find_architecture("granite-3.1-8b")
    assert count_parameters(architecture).total + 4 * architecture.hidden_size == 8_170_864_640


@pytest.mark.parametrize(
    ("model", "billions"),
    # As the vendors state them: model cards of Qwen3, gpt-oss (without the embedding), Mixtral, DeepSeek-V3.
    [("qwen3-30b-a3b", 3.3), ("qwen3-235b-a22b", 22), ("mixtral-8x7b", 12.9), ("deepseek-v3", 37)],
)
def test_active_parameters_agree_with_the_vendors_rounded_figure(model: str, billions: float) -> None:
    assert count_parameters(find_architecture(model)).active / 1e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize("model", catalogue_names())
def test_parts_are_ordered_and_only_layer_matrices_are_quantizable(model: str) -> None:
    counts = count_parameters(find_architecture(model))
    assert list(counts.by_part) == [part for part in PARTS if part in counts.by_part]
    assert counts.quantizable.keys() <= {"attention", "mlp", "experts", "shared_experts", "vision"}
    assert all(counts.quantizable[part] <= counts.by_part[part] for part in counts.quantizable)
    assert counts.active <= counts.total
