"""Weights in each precision."""

import json
from pathlib import Path

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS, kv_precision
from workshop_utils.memory.weights import weight_terms
from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

FACTS = json.loads(
    (Path(__file__).parents[1] / "models" / "published_facts.json").read_text(encoding="utf-8")
)["models"]


def weights_bytes(model: str, dtype: str) -> int:
    return sum(term.bytes for term in weight_terms(find_architecture(model), dtype))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["hf_id"])
def test_bfloat16_weights_equal_the_recorded_facts(fact: dict) -> None:
    assert weights_bytes(fact["hf_id"], "bfloat16") == fact["bf16_weight_bytes"]
    assert weights_bytes(fact["hf_id"], "float16") == fact["bf16_weight_bytes"]
    assert weights_bytes(fact["hf_id"], "float32") == 2 * fact["bf16_weight_bytes"]


@pytest.mark.parametrize("model", ["gpt-oss-20b", "gpt-oss-120b"])
def test_mxfp4_weights_equal_the_size_of_the_published_files(model: str) -> None:
    (fact,) = [fact for fact in FACTS if fact["hf_id"] == f"openai/{model}"]
    assert weights_bytes(model, "mxfp4") == fact["checkpoint_native"]["bytes"]


@pytest.mark.parametrize("model", catalogue_names())
@pytest.mark.parametrize(("dtype", "bits"), [("int8", 8), ("int4", 4.5)])
def test_quantised_weights_keep_everything_but_layer_matrices_at_two_bytes(
    model: str, dtype: str, bits: float
) -> None:
    counts = count_parameters(find_architecture(model))
    quantised = sum(counts.quantizable.values())
    assert weights_bytes(model, dtype) == pytest.approx(
        quantised * bits / 8 + 2 * (counts.total - quantised), abs=4
    )
    terms = {term.name: term for term in weight_terms(find_architecture(model), dtype)}
    assert terms["weights: embedding"].bytes == 2 * counts.by_part["embedding"]
    assert terms["weights: embedding"].certainty == "exact"
    assert terms["weights: attention"].certainty == "assumed"


def test_a_format_for_experts_is_refused_where_there_are_none() -> None:
    with pytest.raises(WorkshopError, match=r"mxfp4 stores only experts .* llama-3.1-8b has none"):
        weights_bytes("llama-3.1-8b", "mxfp4")


def test_unknown_precisions_are_refused_with_the_choices() -> None:
    with pytest.raises(WorkshopError, match=r"'fp7' .* choose one of float32, bfloat16"):
        weights_bytes("llama-3.1-8b", "fp7")
    with pytest.raises(WorkshopError, match=r"KV cache precision 'mxfp4' .* choose one of float32"):
        kv_precision("bfloat16", "mxfp4")


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_cache_follows_plain_weights_and_stays_bfloat16_beside_quantised_ones(dtype: str) -> None:
    assert kv_precision(dtype, None) == (dtype if PRECISIONS[dtype].parts is None else "bfloat16")
    assert all(kv_precision(dtype, chosen) == chosen for chosen in KV_BITS)
