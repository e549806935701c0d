"""The ideal KV cache against recorded facts and by hand."""

import json
from pathlib import Path

import pytest

from workshop_utils.memory.kv_cache import kv_cache_bytes, kv_cache_terms
from workshop_utils.models.find import find_architecture

FACTS = json.loads(
    (Path(__file__).parents[1] / "models" / "published_facts.json").read_text(encoding="utf-8")
)["models"]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["hf_id"])
def test_cache_equals_the_recorded_facts_at_every_context(fact: dict) -> None:
    architecture = find_architecture(fact["hf_id"])
    recorded = fact["kv_bytes_at_context_ideal"]
    assert set(recorded) == {"4096", "8192", "32768", "131072"}
    assert {
        tokens: kv_cache_bytes(architecture, int(tokens), 1, "bfloat16") for tokens in recorded
    } == recorded


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["hf_id"])
def test_bytes_per_token_equal_the_recorded_facts_inside_and_beyond_the_window(fact: dict) -> None:
    architecture = find_architecture(fact["hf_id"])
    full = fact["kv_bytes_per_token_full_attention_layers"]
    sliding = fact["kv_bytes_per_token_sliding_layers_within_window"]
    assert kv_cache_bytes(architecture, 1, 1, "bfloat16") == full + sliding
    beyond = [kv_cache_bytes(architecture, tokens, 1, "bfloat16") for tokens in (50_000, 50_001)]
    assert beyond[1] - beyond[0] == full


def test_one_term_for_each_kind_of_layer_by_hand() -> None:
    # Gemma 4 26B: 25 sliding layers of 8 KV heads × 256, 5 full ones of 2 × 512, window 1024.
    terms = kv_cache_terms(find_architecture("gemma-4-26b-a4b"), 2000, 3, "float32")
    assert [term.name for term in terms] == ["KV cache: 25 sliding layers", "KV cache: 5 full layers"]
    assert [term.bytes for term in terms] == [
        25 * 8 * (256 + 256) * 1024 * 3 * 4,
        5 * 2 * (512 + 512) * 2000 * 3 * 4,
    ]
    assert "min(2,000, window 1,024) tokens × 3 sequences × 4 bytes" in terms[0].formula


def test_a_latent_cache_has_no_values_and_counts_576_a_layer() -> None:
    (term,) = kv_cache_terms(find_architecture("deepseek-v3"), 10, 1, "bfloat16")
    assert term.bytes == 61 * 576 * 10 * 2
    assert "latent 512 + rotary key 64" in term.formula


def test_a_quantised_cache_is_smaller_and_only_assumed() -> None:
    architecture = find_architecture("llama-3.1-8b")
    (half,) = kv_cache_terms(architecture, 4096, 1, "bfloat16")
    (quarter,) = kv_cache_terms(architecture, 4096, 1, "int4")
    assert quarter.bytes * 4 == half.bytes
    assert (half.certainty, quarter.certainty) == ("exact", "assumed")
