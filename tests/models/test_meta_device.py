"""Every part of every catalogue model against the model that transformers builds on torch's meta device.

Nothing is allocated: a meta tensor has a shape and no storage. The models of other configurations check
branches that no catalogue model takes (biases, other layer patterns, SigLIP's pooling head).
"""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
import transformers

from workshop_utils.models.catalogue import CONFIGS, catalogue_names
from workshop_utils.models.config import Config
from workshop_utils.models.parameters import count_parameters
from workshop_utils.models.reading import read_architecture

# First match wins: a norm inside attention is a norm, a norm of the tower belongs to the tower.
PART_OF_NAME = (
    (("vision_tower", "vision_model", "multi_modal_projector", "embed_vision"), "vision"),
    (("lm_head",), "head"),
    (("embed_tokens", "shared.weight", "relative_attention_bias"), "embedding"),
    (("norm",), "norms"),
    (("self_attn", "linear_attn", ".mamba.", "SelfAttention", "EncDecAttention"), "attention"),
    (("router", "mlp.gate.", "shared_expert_gate"), "router"),
    (("shared_expert", "shared_mlp"), "shared_experts"),
    ((".experts.",), "experts"),
    ((".mlp.", ".feed_forward.", "DenseReluDense"), "mlp"),
)


def fields_of(name: str) -> dict:
    return json.loads(Path(CONFIGS, f"{name}.json").read_text(encoding="utf-8"))


def built_counts(fields: dict) -> dict[str, int]:
    """Parameters by part of the model that transformers builds from ``fields``."""
    model_class = getattr(transformers, fields["architectures"][0])
    plain = {name: value for name, value in fields.items() if name != "quantization_config"}
    with torch.device("meta"):
        model = model_class(model_class.config_class.from_dict(plain))
        # T5 always ties what it builds, and unties what a checkpoint holds twice, as Flan-T5's do.
        if fields["model_type"] == "t5" and not fields["tie_word_embeddings"]:
            model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        counts[next(part for keys, part in PART_OF_NAME if any(key in name for key in keys))] += (
            parameter.numel()
        )
    return dict(counts)


def our_counts(fields: dict) -> dict[str, int]:
    return count_parameters(read_architecture(Config(fields, "model", "config.json"))).by_part


@pytest.mark.parametrize("name", catalogue_names())
def test_each_part_equals_the_built_model(name: str) -> None:
    fields = fields_of(name)
    assert our_counts(fields) == built_counts(fields)


def changed(name: str, **changes: object) -> dict:
    return fields_of(name) | changes


def changed_section(name: str, section: str, **changes: object) -> dict:
    fields = fields_of(name)
    return fields | {section: fields[section] | changes}


VARIANTS = {
    "llama with biases and tied": changed(
        "llama-3.1-8b", attention_bias=True, mlp_bias=True, tie_word_embeddings=True
    ),
    "llama without kv heads": changed("llama-3.1-8b", num_key_value_heads=None),
    "llama with its own head_dim": changed("llama-3.1-8b", head_dim=64),
    "mistral without head_dim": changed("mistral-small-24b", head_dim=None),
    "qwen3 with attention bias": changed("qwen3-8b", attention_bias=True),
    "qwen3-moe every second layer": changed("qwen3-30b-a3b", decoder_sparse_step=2),
    "gpt-oss without layer_types or bias": changed("gpt-oss-20b", layer_types=None, attention_bias=False),
    "deepseek without query rank": changed("deepseek-v3", q_lora_rank=None),
    "deepseek with bias and two shared experts": changed(
        "deepseek-v3", attention_bias=True, n_shared_experts=2
    ),
    "granite with biases": changed("granite-3.1-2b", attention_bias=True, mlp_bias=True),
    "gemma 2 untied": changed("gemma-2-2b", tie_word_embeddings=False),
    "qwen2 with a window": changed("qwen2.5-7b", use_sliding_window=True, max_window_layers=4),
    "olmo 2 with grouped KV heads": changed("olmo-2-7b", num_key_value_heads=8),
    "deepseek v2 with query rank": changed("deepseek-v2-lite", q_lora_rank=1536),
    "llama 4 with experts in two layers": changed_section("llama-4-scout", "text_config", moe_layers=[1, 5]),
    "llama 4 with biases": changed_section("llama-4-scout", "text_config", attention_bias=True),
    "qwen3-next every second layer, with bias": changed(
        "qwen3-next-80b-a3b", decoder_sparse_step=2, mlp_only_layers=[3], attention_bias=True
    ),
    "granite 4 with biases": changed(
        "granite-4-h-small", mamba_proj_bias=True, mamba_conv_bias=False, mamba_n_groups=4
    ),
    "t5 with a plain MLP, tied and uneven": changed(
        "flan-t5-base", feed_forward_proj="relu", tie_word_embeddings=True, num_decoder_layers=3
    ),
    "gemma 3 with the pooling head": changed_section("gemma-3-4b", "vision_config", vision_use_head=True),
    "gemma 3 untied": changed("gemma-3-4b", tie_word_embeddings=False),
    "gemma 4 dense": changed_section("gemma-4-26b-a4b", "text_config", enable_moe_block=False),
    "gemma 4 with its own V": changed_section("gemma-4-26b-a4b", "text_config", attention_k_eq_v=False),
    "gemma 4 without image tower": changed("gemma-4-26b-a4b", vision_config=None),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_part_of_a_variant_equals_the_built_model(variant: str) -> None:
    assert our_counts(VARIANTS[variant]) == built_counts(VARIANTS[variant])


@pytest.mark.parametrize("name", ["gemma-3-4b", "gemma-4-26b-a4b", "llama-4-scout"])
def test_the_image_towers_matrices_are_the_linear_layers_of_its_blocks(name: str) -> None:
    fields = fields_of(name)
    model_class = getattr(transformers, fields["architectures"][0])
    with torch.device("meta"):
        model = model_class(model_class.config_class.from_dict(fields))
    linear = sum(
        module.weight.numel()
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and ("vision_tower" in path or "vision_model" in path)
        and "layers." in path
    )
    assert (
        count_parameters(read_architecture(Config(fields, "model", "config.json"))).quantizable["vision"]
        == linear
    )
