"""Notebook 07: the small model in 8 and in 4 bits, where the library for it is installed."""

from importlib.util import find_spec
from typing import Any

from workshop_utils.lessons.accelerate_maps import size_words
from workshop_utils.lessons.accelerate_offload import Decoded, decode, question_ids
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.token_log import place_words
from workshop_utils.measure.generation import device_here
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture
from workshop_utils.models.quiet import quiet_torchao
from workshop_utils.models.small_model import small_model_folder

SHAPE = "smollm2-135m"
# What the memory engine calls a precision, and the library that transformers has do it.
TORCHAO, BITSANDBYTES = "torchao", "bitsandbytes"
LIBRARIES = {"bfloat16": None, "int8": TORCHAO, "nf4": BITSANDBYTES}
BITS = {"int8": 8, "nf4": 4}
NOT_HERE = "not run here"


def quantised_table() -> Table:
    """Return the small model in bfloat16 beside 8 and 4 bits: bytes expected, held, and a token's time.

    Both run on NVIDIA GPUs and on CPUs alike; without a library its row says what is missing.
    """
    ids = question_ids()
    rows, plain = [], None
    for dtype, library in LIBRARIES.items():
        words = dtype if library is None else f"{dtype}, {BITS[dtype]} bits ({library})"
        expected = estimate(find_architecture(SHAPE), tokens=1, dtype=dtype).weights_bytes
        if library is not None and find_spec(library) is None:
            rows.append((words, size_words(expected), NOT_HERE, "", ""))
            continue
        model = load_in(dtype)
        decode(model, ids)  # what is new to the process takes many times as long, on GPUs most of all
        run = decode(model, ids)
        plain = plain or run
        rows.append((words, size_words(expected), size_words(held_bytes(model)), *speed(run, plain)))
        del model
    headers = ("weights in", "expected", "held", "a token takes", "first tokens like bfloat16's")
    missing = " ".join(library for library in LIBRARIES.values() if library and find_spec(library) is None)
    caption = f"SmolLM2, measured here on {place_words()}."
    if missing:
        caption += f" To run the others, `pip install {missing}` and restart the kernel."
    return Table(headers, rows, caption)


def load_in(dtype: str) -> Any:
    """Return the small model in ``bfloat16``, or quantised to ``int8`` or ``nf4`` while it is loaded."""
    quiet_torchao()
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        small_model_folder(), dtype=torch.bfloat16, quantization_config=quantisation(dtype),
        device_map={"": device_here()},
    )  # fmt: skip


def quantisation(dtype: str) -> Any:
    """Return what transformers is told for a precision; None for bfloat16."""
    import torch
    from transformers import BitsAndBytesConfig, TorchAoConfig

    if dtype == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type=dtype, bnb_4bit_compute_dtype=torch.bfloat16
        )
    if dtype != "int8":
        return None
    from torchao.quantization import Int8WeightOnlyConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


def held_bytes(model: Any) -> int:
    """Return the bytes of a model's weights; quantised ones with their scales."""
    return sum(map(parameter_bytes, model.parameters()))


def parameter_bytes(parameter: Any) -> int:
    """Return the bytes behind a parameter: torchao's is made of tensors, bitsandbytes' has some beside it."""
    if names := getattr(parameter, "tensor_data_names", None):
        return sum(int(getattr(parameter, name).nbytes) for name in names)
    state = getattr(parameter, "quant_state", None)
    return int(parameter.nbytes) + (int(state.absmax.nbytes) if state is not None else 0)


def speed(run: Decoded, plain: Decoded) -> tuple[str, str]:
    """Return the time of a token, and how many tokens are the same until the first that differs."""
    pairs = zip(run.tokens, plain.tokens, strict=True)
    same = next((number for number, (a, b) in enumerate(pairs) if a != b), len(run.tokens))
    return f"{run.tpot_ms:.0f} ms", f"{same} of {len(run.tokens)}"
