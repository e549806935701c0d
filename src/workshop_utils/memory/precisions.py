"""In how many bits a weight or a cached value is stored."""

from dataclasses import dataclass

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.term import Certainty


@dataclass(frozen=True, slots=True)
class Precision:
    """A storage format. ``bits`` for each quantised value, scales included; ``rest_bits`` for all others.

    ``parts``: the parts that a quantised format shrinks, None for a plain format, which stores all alike.
    """

    name: str
    bits: float
    rest_bits: int
    parts: frozenset[str] | None
    note: str
    source: str
    certainty: Certainty


LAYER_MATRICES = frozenset({"attention", "mlp", "experts", "shared_experts", "vision"})
IEEE = "size of the number format"

PRECISIONS = {
    "float32": Precision("float32", 32, 32, None, "", IEEE, "exact"),
    "bfloat16": Precision("bfloat16", 16, 16, None, "", IEEE, "exact"),
    "float16": Precision("float16", 16, 16, None, "", IEEE, "exact"),
    "int8": Precision(
        "int8", 8, 16, LAYER_MATRICES, "a scale for each row of a matrix, under 0.1 %, is left out",
        "LLM.int8(), https://arxiv.org/abs/2208.07339", "assumed",
    ),
    "int4": Precision(
        "int4", 4.5, 16, LAYER_MATRICES, "4 bits and a 32-bit scale for each block of 64 weights",
        "NF4 without double quantisation, QLoRA, https://arxiv.org/abs/2305.14314, section 3", "assumed",
    ),
    "mxfp4": Precision(
        "mxfp4", 4.25, 16, frozenset({"experts"}), "4 bits and an 8-bit scale for each block of 32 weights",
        "OCP Microscaling Formats specification 1.0, section 5; gpt-oss stores its experts so", "exact",
    ),
}  # fmt: skip
# The cache holds computed values; quantised caches have scales of their own, which differ by library.
KV_BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "int8": 8, "int4": 4}


def find_precision(dtype: str) -> Precision:
    """Return the precision called ``dtype``; WorkshopError with the choices."""
    if dtype not in PRECISIONS:
        raise WorkshopError(f"precision {dtype!r} is not known; choose one of {', '.join(PRECISIONS)}.")
    return PRECISIONS[dtype]


def kv_precision(dtype: str, kv_dtype: str | None) -> str:
    """Return the KV cache's precision: as asked, else the weights', or bfloat16 where those are quantised.

    Quantising the weights leaves the cache as it is. Raises WorkshopError with the choices.
    """
    chosen = kv_dtype or ("bfloat16" if find_precision(dtype).parts else dtype)
    if chosen not in KV_BITS:
        raise WorkshopError(
            f"KV cache precision {chosen!r} is not known; choose one of {', '.join(KV_BITS)}."
        )
    return chosen
