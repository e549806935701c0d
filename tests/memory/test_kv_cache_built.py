"""The ideal cache against the one that transformers really builds, on tiny models of each kind."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from workshop_utils.memory.allocator import SMALLEST
from workshop_utils.memory.engines.transformers import assess
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.memory.workload import Workload
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.config import Config
from workshop_utils.models.reading import read_architecture

WINDOW, PROMPT = 8, 30
TINY = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "vocab_size": 128}
HEADS = {"num_key_value_heads": 2, "head_dim": 16}
CASES = {
    "llama": TINY | HEADS | {"num_hidden_layers": 2},
    "mistral": TINY | HEADS | {"num_hidden_layers": 2, "sliding_window": WINDOW},
    "qwen3": TINY | HEADS | {"num_hidden_layers": 2},
    "gemma3_text": TINY | HEADS | {"num_hidden_layers": 6, "sliding_window": WINDOW},
    "gpt_oss": TINY
    | HEADS
    | {"num_hidden_layers": 2, "sliding_window": WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2},
    "gemma4_text": TINY
    | HEADS
    | {"num_hidden_layers": 6, "sliding_window": WINDOW, "hidden_size_per_layer_input": 0}
    | {"num_global_key_value_heads": 1, "global_head_dim": 32, "attention_k_eq_v": True},
    "deepseek_v3": TINY
    | {"num_hidden_layers": 2, "num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16}
    | {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "n_group": 1, "topk_group": 1}
    | {"moe_intermediate_size": 32, "n_routed_experts": 8, "num_experts_per_tok": 2},
}


def architecture_of(model_type: str) -> Architecture:
    return read_architecture(Config(CASES[model_type] | {"model_type": model_type}, model_type, model_type))


def cache_storage(model_type: str, multiple: int = 1) -> tuple[int, int]:
    """Bytes behind the cache after a prompt of ``PROMPT`` tokens, and after one more token.

    Each tensor's are rounded up to a ``multiple``, as an allocator does.
    """
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **CASES[model_type])
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    sizes, cache = [], None
    for length in (PROMPT, 1):
        with torch.no_grad():
            cache = model(torch.zeros(1, length, dtype=torch.long), past_key_values=cache).past_key_values
        tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        sizes.append(sum(-(-tensor.untyped_storage().nbytes() // multiple) * multiple for tensor in tensors))
    return sizes[0], sizes[1]


@pytest.mark.parametrize("model_type", CASES)
def test_the_cache_that_transformers_holds_while_decoding_is_the_ideal_one(model_type: str) -> None:
    _, decoding = cache_storage(model_type)
    assert decoding == kv_cache_bytes(architecture_of(model_type), PROMPT + 1, 1, "float32")


@pytest.mark.parametrize("model_type", CASES)
def test_what_sliding_layers_hold_of_the_whole_prompt_is_a_term_of_its_size(model_type: str) -> None:
    architecture = architecture_of(model_type)
    prompt, _ = cache_storage(model_type, SMALLEST)
    workload = Workload(PROMPT + 1, 1, "float32", "float32", "transformers", "sdpa", new_tokens=1)
    (rank,) = assess(architecture, workload, None).ranks
    found = sum(term.bytes for term in rank.needed if term.name == "cache beyond what is kept")
    assert found == prompt - kv_cache_bytes(architecture, PROMPT + 1, 1, "float32")
