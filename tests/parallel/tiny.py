"""Tiny models of every family: true classes of transformers, a few layers and heads."""

import json
from pathlib import Path
from typing import Any

COMMON: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 12,
    "num_key_value_heads": 4, "head_dim": 8, "vocab_size": 130, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64, "rope_theta": 500000.0,
}  # fmt: skip
GEMMA_LAYERS = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "rope_parameters": LLAMA3},
    # SmolLM2's shape of heads: three groups of three, and a tied head.
    "smollm2": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_attention_heads": 9,
        "num_key_value_heads": 3, "hidden_size": 72, "tie_word_embeddings": True,
    },
    # Fewer KV heads than four ranks: two ranks hold a copy of each.
    "few_kv_heads": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "qwen2": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
    "qwen3": {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
    "gemma3_text": {
        "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "sliding_window": 6,
        "layer_types": GEMMA_LAYERS, "query_pre_attn_scalar": 16, "tie_word_embeddings": True,
        "hidden_activation": "gelu_pytorch_tanh",
    },
    "mistral": {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 7},
    "phi3": {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "hidden_size": 96},
    "qwen3_moe": {
        "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "moe_intermediate_size": 24,
        "num_experts": 6, "num_experts_per_tok": 2, "norm_topk_prob": True, "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    },
    "mixtral": {
        "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": 4,
        "num_experts_per_tok": 2, "sliding_window": None,
    },
}  # fmt: skip


def write_config(folder: Path, family: str) -> Path:
    """Write the config.json of a tiny model and return its folder."""
    model = folder / family
    model.mkdir(parents=True, exist_ok=True)
    fields = {**COMMON, **FAMILIES[family]}
    if family == "phi3":
        fields.pop("head_dim")
    (model / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    return model
