"""What a built model keeps of its tokens: run it on the meta device and look at the cache that it fills.

On the meta device a forward pass computes shapes only. Its cache says for every layer how many KV heads of
which width it keeps, over which window, or which constant state.
"""

from typing import Any

from workshop_utils.models.architecture import Attention, ConstantState, LatentAttention, Mixer

TOKENS = 16
# The caches that models share; one that a model brings itself holds more than it shows.
SHARED = "transformers.cache_utils"


def observed_caches(model: Any) -> tuple[list[Any], list[Any]]:
    """Return the cache's layers and those of its cross-attention.

    Raises LookupError for a cache of the model's own making, and whatever transformers raises in a pass.
    """
    import torch

    model.eval()  # in training, some models choose by values which layers they run
    arguments = arguments_of(model)
    with torch.inference_mode():
        try:
            output = model(**arguments)
        except RuntimeError:
            # Some look into the positions for a second sequence unless there is a mask; others into the mask.
            mask = torch.ones(1, TOKENS, dtype=torch.long, device="meta")
            output = model(**arguments, attention_mask=mask)
    cache = getattr(output, "past_key_values", None)
    cache = getattr(output, "cache_params", None) if cache is None else cache
    own = getattr(cache, "self_attention_cache", cache)
    cross = getattr(cache, "cross_attention_cache", None)
    layers = list(getattr(own, "layers", []))
    if not layers or any(type(part).__module__ != SHARED for part in (own, *layers)):
        raise LookupError(f"a cache of its own, {type(cache).__name__}")
    return layers, list(getattr(cross, "layers", []))


def arguments_of(model: Any) -> dict[str, Any]:
    """Return what a pass over a few tokens takes: ids, or the frames of a speech model."""
    import torch

    tokens = torch.zeros(1, TOKENS, dtype=torch.long, device="meta")
    arguments: dict[str, Any] = {"use_cache": True}
    if model.config.is_encoder_decoder:
        arguments["decoder_input_ids"] = tokens
    if model.main_input_name != "input_features":
        return arguments | {"input_ids": tokens}
    frames = 2 * model.config.max_source_positions
    shape = (1, model.config.num_mel_bins, frames)
    return arguments | {"input_features": torch.zeros(shape, dtype=model.dtype, device="meta")}


def mixer_of(layer: Any, text: Any) -> Mixer:
    """Return the mixer that fills one layer of a cache; ``text`` is the config of the text model."""
    recurrent = sum(values(layer, "recurrent_states"))
    rest = sum(values(layer, "conv_states"))
    keys: Any = getattr(layer, "keys", None)
    if keys is None or keys.dim() != 4 or not keys.numel():
        return ConstantState(recurrent, rest)
    kv_heads, width, value_width = keys.shape[1], keys.shape[3], layer.values.shape[3]
    heads = getattr(text, "num_attention_heads", None)
    heads = heads if isinstance(heads, int) and heads % kv_heads == 0 else kv_heads
    rank = getattr(text, "kv_lora_rank", None)
    if rank:
        keys_of_index = getattr(layer, "indexer_keys", None)
        index = 0 if keys_of_index is None else keys_of_index.shape[-1]
        rotary = getattr(text, "qk_rope_head_dim", 0) or 0
        return LatentAttention(
            heads=heads,
            query_rank=getattr(text, "q_lora_rank", None),
            kv_rank=rank,
            rotary_dim=rotary,
            plain_dim=getattr(text, "qk_nope_head_dim", None) or width - rotary,
            value_dim=getattr(text, "v_head_dim", None) or value_width,
            index_dim=index,
        )
    return Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=width,
        window=getattr(layer, "sliding_window", None),
        value_dim=None if value_width == width else value_width,
        beside=ConstantState(recurrent, rest) if recurrent + rest else None,
    )


def values(layer: Any, name: str) -> list[int]:
    """Return the sizes of the states of that name."""
    states = getattr(layer, name, None) or {}
    states = states.values() if isinstance(states, dict) else [states]
    return [state.numel() for state in states if hasattr(state, "numel")]


def stated_mixers(model: Any, text: Any, path: str, count: int) -> list[Mixer]:
    """Return the mixers as the usual fields state them, for a model whose pass needs more than shapes.

    Raises LookupError unless the built layers agree: one K projection of just that width in each.
    """
    heads = text.num_attention_heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    built = [
        module.weight.shape[0]
        for name, module in model.named_modules()
        if name.startswith(f"{path}.") and name.endswith(".k_proj")
    ]
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * count
    if built != [kv_heads * width] * count or not all("attention" in kind for kind in kinds):
        raise LookupError("layers of different kinds")
    window = getattr(text, "sliding_window", None)
    full = Attention(heads=heads, kv_heads=kv_heads, head_dim=width)
    sliding = Attention(heads=heads, kv_heads=kv_heads, head_dim=width, window=window)
    return [sliding if "sliding" in kind else full for kind in kinds]
