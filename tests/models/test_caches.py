"""What a layer keeps, against the cache that transformers fills on tiny models: values, not bytes."""

from typing import Any

import pytest
import torch
import transformers

from workshop_utils.models.config import Config
from workshop_utils.models.reading import read_architecture

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
TOKENS = 12
TINY: dict[str, dict[str, Any]] = {
    "GraniteMoeHybridForCausalLM": SHAPE
    | {
        "model_type": "granitemoehybrid",
        "mamba_n_heads": 4,
        "mamba_d_state": 8,
        "mamba_n_groups": 2,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "layer_types": ["mamba", "attention"],
    },
    "Qwen3NextForCausalLM": SHAPE
    | {
        "model_type": "qwen3_next",
        "head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 16,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "full_attention_interval": 2,
    },
    "Gemma2ForCausalLM": SHAPE | {"model_type": "gemma2", "head_dim": 8, "sliding_window": 5},
    "Olmo2ForCausalLM": SHAPE | {"model_type": "olmo2"},
}


def kept(layer: Any) -> int:
    """Values in all tensors of one layer of a cache."""
    tensors = []
    for value in vars(layer).values():
        tensors += value.values() if isinstance(value, dict) else [value]
    return sum(tensor.numel() for tensor in tensors if torch.is_tensor(tensor) and tensor.numel() > 1)


@pytest.mark.parametrize("model_class", TINY)
def test_a_layer_keeps_what_the_architecture_says(model_class: str) -> None:
    fields = TINY[model_class]
    build = getattr(transformers, model_class)
    model = build(build.config_class.from_dict(fields)).eval()
    with torch.inference_mode():
        cache = model(torch.zeros(1, TOKENS, dtype=torch.long), use_cache=True).past_key_values
    mixers = [layer.attention for layer in read_architecture(Config(fields, "tiny", "config.json")).layers]
    # A sliding layer of transformers keeps one token less than its window: the next one takes that place.
    lengths = [min(TOKENS, mixer.window - 1 if mixer.window else TOKENS) for mixer in mixers]
    assert [kept(layer) for layer in cache.layers] == [
        mixer.cached_values * length + mixer.state_values
        for mixer, length in zip(mixers, lengths, strict=True)
    ]
    assert len({mixer.kind for mixer in mixers}) == len(set(map(type, cache.layers)))


def test_an_encoder_decoder_keeps_the_input_for_every_decoder_layer() -> None:
    fields = {
        "model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 3,
        "num_heads": 4, "vocab_size": 64,
    }  # fmt: skip
    model = transformers.T5ForConditionalGeneration(transformers.T5Config.from_dict(fields)).eval()
    tokens = torch.zeros(1, TOKENS, dtype=torch.long)
    with torch.inference_mode():
        cache = model(tokens, decoder_input_ids=tokens[:, :4], use_cache=True).past_key_values
    architecture = read_architecture(Config(fields, "tiny", "config.json"))
    assert (len(architecture.encoder), len(architecture.layers)) == (2, 3)
    for layer, own, cross in zip(
        architecture.layers,
        cache.self_attention_cache.layers,
        cache.cross_attention_cache.layers,
        strict=True,
    ):
        assert layer.cross_attention is not None
        assert kept(own) == 4 * layer.attention.cached_values
        assert kept(cross) == TOKENS * layer.cross_attention.cached_values
