"""T5, T5 1.1 and Flan-T5: an encoder and a decoder over one embedding. Defaults: transformers ``T5Config``.

Positions are a table of relative distances, kept in the first layer of each stack and used by all.
"""

from workshop_utils.models.architecture import Architecture, Attention, DenseMlp, Layer
from workshop_utils.models.config import Config


def read(config: Config) -> Architecture:
    """Return the architecture of a T5 config; ``layers`` are the decoder's."""
    config.require("d_model", "d_kv", "d_ff", "num_layers", "num_heads", "vocab_size")
    heads = config.integer("num_heads")
    attention = Attention(heads=heads, kv_heads=heads, head_dim=config.integer("d_kv"))
    mlp = DenseMlp(
        config.integer("d_ff"), gated=(config.text("feed_forward_proj") or "relu").startswith("gated")
    )
    count = config.layer_count("num_layers")
    decoder_layer = Layer(attention, mlp, norms=3, cross_attention=attention)
    return Architecture(
        name=config.name,
        model_type="t5",
        hidden_size=config.integer("d_model"),
        vocabulary_size=config.integer("vocab_size"),
        layers=(decoder_layer,) * config.layer_count("num_decoder_layers", count),
        encoder=(Layer(attention, mlp),) * count,
        tied_embeddings=config.flag("tie_word_embeddings", True),
        dtype=config.dtype(),
        # A value for each bucket and head, once in the encoder and once in the decoder.
        position_values=2 * heads * config.integer("relative_attention_num_buckets", 32),
    )
