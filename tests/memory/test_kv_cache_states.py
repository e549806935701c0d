"""Constant states and cross-attention: against the caches that transformers really fills, on tiny models."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.config import Config
from workshop_utils.models.reading import read_architecture

PROMPT = 30
TINY = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "vocab_size": 128} | {
    "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 4, "num_experts_per_tok": 2,
}  # fmt: skip
HYBRIDS = {
    "granitemoehybrid": TINY
    | {"num_local_experts": 4, "layer_types": ["mamba", "attention"] * 2, "shared_intermediate_size": 32}
    | {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16},
    "qwen3_next": TINY
    | {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}
    | {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    | {"linear_key_head_dim": 8, "linear_value_head_dim": 8},
}
T5 = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "vocab_size": 128}


def architecture_of(model_type: str, fields: dict) -> Architecture:
    return read_architecture(Config(fields | {"model_type": model_type}, model_type, model_type))


def tensors(held: Any) -> Iterator[torch.Tensor]:
    if isinstance(held, torch.Tensor):
        yield held
    elif isinstance(held, (list, tuple)):
        for each in held:
            yield from tensors(each)
    elif isinstance(held, dict):
        yield from tensors(list(held.values()))


def stored_bytes(cache: Any) -> int:
    return sum(t.untyped_storage().nbytes() for layer in cache.layers for t in tensors(vars(layer)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model_type", HYBRIDS)
def test_a_hybrid_holds_its_states_and_the_tokens_of_its_few_layers(model_type: str, dtype: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **HYBRIDS[model_type])
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()
    cache = None
    for length in (PROMPT, 1):
        with torch.no_grad():
            tokens = torch.zeros(1, length, dtype=torch.long)
            cache = model(tokens, past_key_values=cache, use_cache=True).past_key_values
    architecture = architecture_of(model_type, HYBRIDS[model_type])
    assert stored_bytes(cache) == kv_cache_bytes(architecture, PROMPT + 1, 1, dtype)


def test_an_encoder_decoder_holds_the_input_and_the_answer() -> None:
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model("t5", **T5)).eval()
    tokens = torch.zeros(3, PROMPT, dtype=torch.long)
    with torch.no_grad():
        cache = model(input_ids=tokens, decoder_input_ids=tokens, use_cache=True).past_key_values
    held = stored_bytes(cache.self_attention_cache) + stored_bytes(cache.cross_attention_cache)
    assert held == kv_cache_bytes(architecture_of("t5", T5), PROMPT, 3, "float32")
