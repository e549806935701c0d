"""Notebook 07: the small model in 4 bits, where the library for that is installed."""

from importlib.util import find_spec
from typing import Any

from workshop_utils.lessons.accelerate_maps import size_words
from workshop_utils.lessons.accelerate_offload import Decoded, decode, question_ids
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.token_log import place_words
from workshop_utils.measure.generation import device_here
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture
from workshop_utils.models.small_model import small_model_folder

LIBRARY = "bitsandbytes"
SHAPE = "smollm2-135m"
FORMATS = {"bfloat16": "bfloat16", "nf4": f"nf4, 4 bits ({LIBRARY})"}
NOT_HERE = "not run here"


def quantised_table() -> Table:
    """Return the small model in bfloat16 beside 4 bits: bytes expected, held, and the time of a token.

    4 bits run on NVIDIA GPUs and on CPUs alike; without the library a row says what is missing.
    """
    ids = question_ids()
    rows, plain = [], None
    for dtype, words in FORMATS.items():
        expected = estimate(find_architecture(SHAPE), tokens=1, dtype=dtype).weights_bytes
        if dtype != "bfloat16" and find_spec(LIBRARY) is None:
            rows.append((words, size_words(expected), NOT_HERE, "", ""))
            continue
        model = load_in(dtype)
        run = decode(model, ids)
        plain = plain or run
        rows.append((words, size_words(expected), size_words(held_bytes(model)), *speed(run, plain)))
        del model
    headers = ("weights in", "expected", "held", "a token takes", "first tokens like bfloat16's")
    caption = f"SmolLM2, measured here on {place_words()}."
    if find_spec(LIBRARY) is None:
        caption += (
            f" {LIBRARY} is not installed: to run 4 bits, `pip install {LIBRARY}` and restart the kernel."
        )
    return Table(headers, rows, caption)


def load_in(dtype: str) -> Any:
    """Return the small model in ``bfloat16`` or quantised to ``nf4`` while it is loaded."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    four_bits = {"load_in_4bit": True, "bnb_4bit_quant_type": dtype, "bnb_4bit_compute_dtype": torch.bfloat16}
    config = None if dtype == "bfloat16" else BitsAndBytesConfig(**four_bits)
    return AutoModelForCausalLM.from_pretrained(
        small_model_folder(), dtype=torch.bfloat16, quantization_config=config,
        device_map={"": device_here()},
    )  # fmt: skip


def held_bytes(model: Any) -> int:
    """Return the bytes of a model's weights; quantised ones with the scale of each block."""
    scales = (getattr(parameter, "quant_state", None) for parameter in model.parameters())
    values = sum(int(parameter.nbytes) for parameter in model.parameters())
    return values + sum(int(state.absmax.nbytes) for state in scales if state is not None)


def speed(run: Decoded, plain: Decoded) -> tuple[str, str]:
    """Return the time of a token, and how many tokens are the same until the first that differs."""
    pairs = zip(run.tokens, plain.tokens, strict=True)
    same = next((number for number, (a, b) in enumerate(pairs) if a != b), len(run.tokens))
    return f"{run.tpot_ms:.0f} ms", f"{same} of {len(run.tokens)}"
