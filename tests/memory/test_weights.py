"""Weights in each precision: against recorded facts, and against what transformers would quantise."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForSeq2SeqLM
from transformers.quantizers.base import get_keys_to_not_convert
from transformers.quantizers.quantizers_utils import should_convert_module

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.precisions import KV_BITS, LAYER_MATRICES, PRECISIONS, kv_precision
from workshop_utils.memory.sharding import whole_model
from workshop_utils.memory.term import Term
from workshop_utils.memory.weights import weight_terms
from workshop_utils.models.catalogue import CONFIGS, catalogue_names
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

FACTS = json.loads(
    (Path(__file__).parents[1] / "models" / "published_facts.json").read_text(encoding="utf-8")
)["models"]
# Linear layers that bitsandbytes shrinks and that are counted here as router or outside the tower's blocks:
# gates of shared experts, routers of Gemma 4, projectors of image towers. At most 0.6 % of the matrices.
ELSEWHERE = {
    "qwen3-next-80b-a3b": 48 * 2048,
    "gemma-4-26b-a4b": 11_698_176,
    "llama-4-scout": 61_645_312,
    "llama-4-maverick": 61_645_312,
}


@cache
def terms(model: str, dtype: str) -> dict[str, Term]:
    shard = whole_model(find_architecture(model))
    return {term.name.removeprefix("weights: "): term for term in weight_terms(shard, dtype)}


def weights_bytes(model: str, dtype: str) -> int:
    return sum(term.bytes for term in terms(model, dtype).values())


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["hf_id"])
def test_bfloat16_weights_equal_the_recorded_facts(fact: dict) -> None:
    assert weights_bytes(fact["hf_id"], "bfloat16") == fact["bf16_weight_bytes"]
    assert weights_bytes(fact["hf_id"], "float16") == fact["bf16_weight_bytes"]
    assert weights_bytes(fact["hf_id"], "float32") == 2 * fact["bf16_weight_bytes"]


@pytest.mark.parametrize("model", catalogue_names())
def test_plain_weights_are_the_parameters_part_by_part(model: str) -> None:
    counts = count_parameters(find_architecture(model)).by_part
    found = {name.replace(" ", "_"): term.bytes for name, term in terms(model, "bfloat16").items()}
    assert found == {part: 2 * count for part, count in counts.items()}


@pytest.mark.parametrize("model", ["gpt-oss-20b", "gpt-oss-120b"])
def test_mxfp4_weights_equal_the_size_of_the_published_files(model: str) -> None:
    (fact,) = [fact for fact in FACTS if fact["hf_id"] == f"openai/{model}"]
    assert weights_bytes(model, "mxfp4") == fact["checkpoint_native"]["bytes"]


@pytest.mark.parametrize("model", catalogue_names())
def test_int8_shrinks_just_what_transformers_hands_to_bitsandbytes(model: str) -> None:
    raw = json.loads(Path(CONFIGS, f"{model}.json").read_text(encoding="utf-8"))
    architecture = find_architecture(model)
    automatic = AutoModelForSeq2SeqLM if architecture.encoder else AutoModelForCausalLM
    with torch.device("meta"):
        built = (AutoModelForImageTextToText if architecture.vision else automatic).from_config(
            AutoConfig.for_model(**raw)
        )
    # As transformers 5.17 replaces modules (integrations/bitsandbytes.py): nn.Linear itself, but the head.
    left = [*get_keys_to_not_convert(built), *(built._keep_in_fp32_modules or ())]
    linear = sum(
        module.weight.numel()
        for name, module in built.named_modules()
        if type(module) is nn.Linear and should_convert_module(name, left)
    )
    saved = weights_bytes(model, "bfloat16") - weights_bytes(model, "int8")
    shrunk = [term for term in terms(model, "int8").values() if "bytes of scales" in term.formula]
    scales = sum(int(term.formula.split(" + ")[1].split()[0].replace(",", "")) for term in shrunk)
    assert saved + scales == linear - ELSEWHERE.get(model, 0)


@pytest.mark.parametrize("dtype", ["int8", "nf4", "nf4-dq", "fp4"])
@pytest.mark.parametrize("model", ["mixtral-8x7b", "qwen3-30b-a3b", "gpt-oss-20b", "deepseek-v2-lite"])
def test_bitsandbytes_leaves_the_experts_and_says_so(model: str, dtype: str) -> None:
    experts = terms(model, dtype)["experts"]
    assert experts.bytes == terms(model, "bfloat16")["experts"].bytes
    assert "left by bitsandbytes in transformers 5.17" in experts.formula
    assert experts.certainty == "exact"


@pytest.mark.parametrize("dtype", ["gptq-int4-g128", "awq-int4-g128", "fp8", "nvfp4", "Q4_K_M", "int4"])
def test_checkpoints_shrink_the_experts(dtype: str) -> None:
    experts, plain = terms("qwen3-30b-a3b", dtype)["experts"], terms("qwen3-30b-a3b", "bfloat16")["experts"]
    assert experts.bytes < 0.51 * plain.bytes


@pytest.mark.parametrize("dtype", [name for name, each in PRECISIONS.items() if each.parts and not each.gguf])
@pytest.mark.parametrize("model", ["gemma-3-4b", "qwen3-30b-a3b", "gpt-oss-20b", "deepseek-v2-lite"])
def test_embedding_head_router_and_norms_stay_at_two_bytes(model: str, dtype: str) -> None:
    if dtype == "mxfp4" and model == "gemma-3-4b":
        with pytest.raises(WorkshopError):
            terms(model, dtype)
        return
    for part in {"embedding", "head", "router", "norms"} & terms(model, "bfloat16").keys():
        assert terms(model, dtype)[part] == terms(model, "bfloat16")[part]


def test_a_gguf_file_quantises_embedding_and_head_and_keeps_norms_in_float32() -> None:
    found, counts = (
        terms("llama-3.1-8b", "Q4_K_M"),
        count_parameters(find_architecture("llama-3.1-8b")).by_part,
    )
    assert found["embedding"].bytes == counts["embedding"] * 4.5 / 8
    assert found["head"].bytes == counts["head"] * 6.5625 / 8
    assert found["norms"].bytes == counts["norms"] * 4
    assert "weights as Q6_K × 6.5625 bits" in found["mlp"].formula


def test_a_gguf_file_of_another_mixer_than_attention_is_assumed() -> None:
    assert terms("llama-3.1-8b", "Q4_K_M")["attention"].certainty == "exact"
    for model in ("deepseek-v2-lite", "granite-4-h-small", "qwen3-next-80b-a3b"):
        assert terms(model, "Q4_K_M")["attention"].certainty == "assumed"


@pytest.mark.parametrize("model", catalogue_names())
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_every_precision_of_every_model_gives_positive_bytes_of_known_parts(model: str, dtype: str) -> None:
    experts = any(layer.experts for layer in find_architecture(model).layers)
    if PRECISIONS[dtype].parts == {"experts"} and not experts:
        with pytest.raises(WorkshopError, match="stores only experts"):
            terms(model, dtype)
        return
    found = terms(model, dtype)
    assert found.keys() == terms(model, "bfloat16").keys()
    assert all(term.bytes > 0 for term in found.values())
    assert 2.625 / 32 < weights_bytes(model, dtype) / weights_bytes(model, "float32") <= 1


@pytest.mark.parametrize("dtype", [name for name, each in PRECISIONS.items() if each.parts])
def test_what_a_format_leaves_of_the_layers_is_said(dtype: str) -> None:
    model = "gpt-oss-20b" if dtype == "mxfp4" else "gemma-3-4b"
    for part in (LAYER_MATRICES - PRECISIONS[dtype].parts) & terms(model, dtype).keys():
        assert "(left " in terms(model, dtype)[part].formula


def test_a_format_for_experts_is_refused_where_there_are_none() -> None:
    with pytest.raises(
        WorkshopError, match=r"mxfp4 stores only experts .* llama-3.1-8b has none; choose nf4"
    ):
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
