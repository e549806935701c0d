"""The ideal KV cache against recorded facts and by hand."""

import json
from pathlib import Path

import pytest

from workshop_utils.memory.kv_cache import kv_cache_bytes, kv_cache_terms
from workshop_utils.memory.kv_precisions import KV_PRECISIONS
from workshop_utils.models.find import find_architecture

FACTS = json.loads(
    (Path(__file__).parents[1] / "models" / "published_facts.json").read_text(encoding="utf-8")
)["models"]
STORED = json.loads(Path(__file__).with_name("quantised_storage.json").read_text(encoding="utf-8"))[
    "cached_tensors"
]


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


def test_an_fp8_cache_takes_half_exactly() -> None:
    architecture = find_architecture("llama-3.1-8b")
    (half,) = kv_cache_terms(architecture, 4096, 1, "bfloat16")
    (eighth,) = kv_cache_terms(architecture, 4096, 1, "fp8")
    assert (2 * eighth.bytes, eighth.certainty) == (half.bytes, "exact")


@pytest.mark.parametrize(("kv_dtype", "bits"), [("int4", 4), ("int8", 8)])
def test_a_quantised_cache_has_scales_and_tokens_that_wait_in_full_width(kv_dtype: str, bits: int) -> None:
    # Llama 3.1 8B: 32 layers of 8 KV heads × (128 + 128); 4096 tokens, of which the newest 127 wait.
    (term,) = kv_cache_terms(find_architecture("llama-3.1-8b"), 4096, 3, kv_dtype)
    values, waiting = 2048 * (4096 - 127), 2048 * 127
    assert term.bytes == 3 * 32 * (values * bits // 8 + values // 64 * 4 + waiting * 2)
    assert term.certainty == "assumed"
    assert "newest 127 tokens in bfloat16" in term.formula


@pytest.mark.parametrize("row", STORED["rows"], ids=lambda row: row["kv_dtype"])
def test_bits_of_a_quantised_cache_are_those_that_the_library_stores(row: dict) -> None:
    precision = KV_PRECISIONS[row["kv_dtype"]]
    assert precision.bits_per_value * row["values"] / 8 == sum(row["bytes"].values())
    assert precision.residual == max(STORED["waiting_after"].values())


def test_a_state_stays_in_full_width_whatever_the_cache() -> None:
    architecture = find_architecture("granite-4-h-small")
    states = {
        kv_dtype: [
            term.bytes for term in kv_cache_terms(architecture, 100, 2, kv_dtype) if "mamba" in term.name
        ]
        for kv_dtype in ("bfloat16", "fp8", "int4")
    }
    # 36 layers of 128 heads × 64 × 128 values in float32 and 8448 channels × 4 in bfloat16, 2 sequences.
    assert set(map(tuple, states.values())) == {(36 * 2 * (128 * 64 * 128 * 4 + 8448 * 4 * 2),)}


def test_cross_attention_caches_the_input_beside_the_answer() -> None:
    own, crossing = kv_cache_terms(find_architecture("flan-t5-base"), 100, 1, "bfloat16")
    assert own.bytes == crossing.bytes == 12 * 12 * (64 + 64) * 100 * 2
    assert (own.certainty, crossing.certainty) == ("exact", "assumed")
    assert "cross-attention" in crossing.name
