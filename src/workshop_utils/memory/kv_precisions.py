"""In how many bits the KV cache keeps a value: a choice of its own, whatever the weights."""

from typing import NamedTuple

from workshop_utils.memory.term import Certainty


class KvPrecision(NamedTuple):
    """``bits`` for each value, and ``group_bits`` of scale and zero point for each ``group`` of values.

    The newest tokens, at most ``residual`` of them, wait in 16 bits until they are quantised together.
    """

    name: str
    bits: int
    source: str
    group: int = 1
    group_bits: int = 0
    residual: int = 0
    note: str = ""
    certainty: Certainty = "exact"

    @property
    def bits_per_value(self) -> float:
        """Bits of a cached value with its share of scales."""
        return self.bits + self.group_bits / self.group

    def stored_bytes(self, values_per_token: int, tokens: int) -> int:
        """Return the bytes of one layer's cache of one sequence; ``tokens`` are those that it keeps."""
        waiting = min(self.residual, tokens - 1)
        values = values_per_token * (tokens - waiting)
        groups = -(-values // self.group)
        bits = values * self.bits + groups * self.group_bits + values_per_token * waiting * 16
        return -(-bits // 8)


IEEE = "size of the number format"
# The newest 127: the cache of 128 is quantised as a whole. An answer of 127 tokens leaves so many waiting.
RESIDUAL = 127
QUANTIZED = "QuantizedCache of transformers 5.17 with its default groups of 64, read with "
GROUPS = "scale and zero point of 16 bits for each 64 values, the newest 127 tokens in bfloat16"

KV_PRECISIONS = {
    precision.name: precision
    for precision in (
        KvPrecision("float32", 32, IEEE),
        KvPrecision("bfloat16", 16, IEEE),
        KvPrecision("float16", 16, IEEE),
        KvPrecision(
            "fp8", 8, "https://arxiv.org/abs/2209.05433; vLLM kv_cache_dtype fp8",
            note="a scale of 4 bytes for K and one for V of each layer left out",
        ),
        KvPrecision("int8", 8, f"{QUANTIZED}hqq 0.2.8", 64, 32, RESIDUAL, GROUPS, "assumed"),
        KvPrecision("int4", 4, f"{QUANTIZED}optimum-quanto 0.2.7", 64, 32, RESIDUAL, GROUPS, "assumed"),
    )
}  # fmt: skip
# Bits of a value without scales, by name.
KV_BITS = {name: precision.bits for name, precision in KV_PRECISIONS.items()}
