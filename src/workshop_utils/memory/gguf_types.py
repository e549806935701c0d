"""Which GGUF type llama.cpp gives each matrix when it quantises a model.

The blocks: ggml/src/ggml-common.h, and ``GGML_QUANT_SIZES`` of the package gguf (a test compares them). The
choice: ``llama_tensor_get_type`` in src/llama-quant.cpp of llama.cpp at 8784689. Other makers of files choose
otherwise, and with an importance matrix Q4_0 and Q5_0 spend more on the first layers.
"""

from typing import NamedTuple

from workshop_utils.memory.block_layout import BlockLayout
from workshop_utils.memory.matrices import Matrix

SMALL_BLOCK, LARGE_BLOCK = 32, 256


def _block(name: str, bits: int, scale_bits: int, columns: int) -> BlockLayout:
    return BlockLayout(bits, scale_bits, tile_columns=columns, padded=True, name=name)


# Bits of the scales and minima of a block: its size in bytes × 8 less its values' bits.
TYPES = {
    layout.name: layout
    for layout in (
        _block("Q4_0", 4, 16, SMALL_BLOCK),
        _block("Q4_1", 4, 32, SMALL_BLOCK),
        _block("Q5_0", 5, 16, SMALL_BLOCK),
        _block("Q5_1", 5, 32, SMALL_BLOCK),
        _block("Q8_0", 8, 16, SMALL_BLOCK),
        _block("IQ4_NL", 4, 16, SMALL_BLOCK),
        _block("Q2_K", 2, 160, LARGE_BLOCK),
        _block("Q3_K", 3, 112, LARGE_BLOCK),
        _block("Q4_K", 4, 128, LARGE_BLOCK),
        _block("Q5_K", 5, 128, LARGE_BLOCK),
        _block("Q6_K", 6, 144, LARGE_BLOCK),
        BlockLayout(16, name="F16"),
    )
}
# What takes the place of a type with blocks of 256 where the inputs are no multiple of 256.
FALLBACK = {"Q2_K": "IQ4_NL", "Q3_K": "IQ4_NL", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
# The files that ``llama-quantize`` makes: the type of every matrix that no rule below treats apart.
FILES = {
    "Q2_K": "Q2_K",
    "Q3_K_S": "Q3_K",
    "Q3_K_M": "Q3_K",
    "Q3_K_L": "Q3_K",
    "Q4_0": "Q4_0",
    "Q4_1": "Q4_1",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_0": "Q5_0",
    "Q5_1": "Q5_1",
    "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K",
    "Q6_K": "Q6_K",
    "Q8_0": "Q8_0",
}
# Models with eight experts spend more on attention, which is small beside them.
SPARE_OUTPUTS = {"Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M"}


class Place(NamedTuple):
    """Where a matrix stands: layer ``number`` of ``layers``, with its experts and its heads per KV head."""

    number: int = 0
    layers: int = 1
    experts: int = 0
    heads_per_kv_head: int = 1

    @property
    def sensitive(self) -> bool:
        """The first and last eighth of the layers, and each third one between."""
        eighth = self.layers // 8
        edge = self.number < eighth or self.number >= 7 * self.layers // 8
        return edge or (self.number - eighth) % 3 == 2


def gguf_layout(file: str, matrix: Matrix, place: Place) -> BlockLayout:
    """Return the layout of a matrix in the file type called ``file``, such as Q4_K_M."""
    name = FILES[file]
    if matrix.role == "head":
        name = "Q8_0" if file == "Q8_0" else "Q6_K"
    elif matrix.role in RULES:
        name = RULES[matrix.role](file, place) or name
    layout = TYPES[name]
    if matrix.columns % (layout.tile_columns or 1):
        layout = TYPES[FALLBACK.get(name, "F16")]
    if matrix.columns % (layout.tile_columns or 1):
        layout = TYPES["F16"]
    return layout


def value_type(file: str, place: Place) -> str | None:
    """Return the type of a V projection, None for that of the file."""
    if place.experts == 8:
        return "Q8_0"
    grouped = place.heads_per_kv_head
    name = {
        "Q2_K": "Q4_K" if grouped >= 4 else "Q3_K",
        "Q3_K_M": "Q5_K" if place.number < 2 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "Q4_K_S": "Q5_K" if place.number < 4 else None,
        "Q4_K_M": "Q6_K" if place.sensitive else None,
        "Q5_K_M": "Q6_K" if place.sensitive else None,
    }.get(file)
    # What llama.cpp takes for a 70B model: 80 layers and fewer KV heads than heads.
    large = place.layers == 80 and grouped > 1
    return "Q5_K" if large and (name or FILES[file]) in {"Q3_K", "Q4_K"} else name


def key_type(_: str, place: Place) -> str | None:
    """Return the type of a K projection, None for that of the file."""
    return "Q8_0" if place.experts == 8 else None


def output_type(file: str, place: Place) -> str | None:
    """Return the type of attention's output projection, None for that of the file."""
    if place.experts == 8:
        return "Q5_K" if file in SPARE_OUTPUTS else None
    return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K"}.get(file)


def down_type(file: str, place: Place) -> str | None:
    """Return the type of an MLP's down projection, None for that of the file."""
    return {
        "Q2_K": "Q3_K",
        "Q3_K_M": "Q5_K" if place.number < place.layers // 16 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "Q4_K_S": "Q5_K" if place.number < place.layers // 8 else None,
        "Q4_K_M": "Q6_K" if place.sensitive else None,
        "Q5_K_M": "Q6_K" if place.sensitive else None,
    }.get(file)


def fused_type(file: str, _: Place) -> str | None:
    """Return the type of a projection of Q, K and V together, None for that of the file."""
    return {"Q3_K_M": "Q4_K", "Q3_K_L": "Q4_K", "Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}.get(file)


RULES = {"v": value_type, "k": key_type, "qkv": fused_type, "output": output_type, "down": down_type}
