"""In how many bits a weight or a cached value is stored, and what of a model a format leaves as it is."""

from typing import NamedTuple

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.block_layout import BlockLayout
from workshop_utils.memory.gguf_types import FILES, Place, gguf_layout
from workshop_utils.memory.kv_precisions import KV_BITS
from workshop_utils.memory.matrices import Matrix
from workshop_utils.memory.term import Certainty

__all__ = [
    "ALIASES",
    "KV_BITS",
    "LAYER_MATRICES",
    "PRECISIONS",
    "Precision",
    "find_precision",
    "kv_precision",
]

# Weight matrices inside the layers and the image tower, of which a format shrinks some.
LAYER_MATRICES = frozenset({"attention", "mlp", "experts", "shared_experts", "vision"})
# bitsandbytes in transformers 5.17 replaces nn.Linear; routed experts are one 3-D tensor, which stays.
LINEAR = LAYER_MATRICES - {"experts"}
# Published checkpoints quantise the text model's layers, experts too, and leave the image tower.
TEXT_LAYERS = LAYER_MATRICES - {"vision"}
# A GGUF file also quantises embedding and head; the image tower is a file of its own, in float16.
GGUF_PARTS = TEXT_LAYERS | {"embedding", "head"}


class Precision(NamedTuple):
    """A storage format. ``parts`` are those that it shrinks, None for a plain format, which stores all alike.

    ``layout`` is how it stores a matrix, None where that differs by matrix (``gguf``, a file type).
    ``rest_bits`` are those of everything else. ``scales`` says what stands beside the values.
    ``keeps`` says why it leaves a part that others shrink.
    """

    name: str
    rest_bits: int
    source: str
    layout: BlockLayout | None = None
    parts: frozenset[str] | None = None
    scales: str = ""
    keeps: str = ""
    certainty: Certainty = "exact"
    gguf: str = ""

    @property
    def bits(self) -> float:
        """Bits of a quantised value with its share of scales; for a GGUF file, of what most matrices are."""
        layout = gguf_layout(self.gguf, PLAIN, Place()) if self.gguf else self.layout
        return layout.bits_per_weight if layout else self.rest_bits

    def layout_of(self, matrix: Matrix, place: Place) -> BlockLayout | None:
        """Return how a matrix is stored, None where it is left in ``rest_bits``."""
        if self.parts is None or matrix.part not in self.parts:
            return None
        return gguf_layout(self.gguf, matrix, place) if self.gguf else self.layout

    def rest_bits_of(self, part: str) -> int:
        """Return the bits of what is not quantised: GGUF has norms, biases and router in float32."""
        return 16 if part == "vision" and self.parts else self.rest_bits


PLAIN = Matrix("mlp", 256, 256)
IEEE = "size of the number format"
BITSANDBYTES = "bitsandbytes 0.50.2 functional.py"
NF4 = f"QLoRA, https://arxiv.org/abs/2305.14314, section 3; {BITSANDBYTES}, quantize_4bit"
FP8 = "Micikevicius et al. (2022), https://arxiv.org/abs/2209.05433"
GPTQ = "https://arxiv.org/abs/2210.17323; tensors of GPTQModel's TorchQuantLinear"
AWQ = "https://arxiv.org/abs/2306.00978; tensors of AutoAWQ's WQLinear_GEMM"
MXFP4 = "OCP Microscaling Formats specification 1.0, section 5; gpt-oss stores its experts so"
NVFP4 = "compressed-tensors, nvfp4-pack-quantized; https://arxiv.org/abs/2509.25149, section 2"
EXPERTS_STAY = "left by bitsandbytes in transformers 5.17, as experts are one 3-D tensor and no nn.Linear"
BLOCKS_OF_64 = "a float32 for each block of 64 weights, and a code table for each matrix"
CODE_TABLE, OUTER_TABLE_AND_OFFSET = 16 * 4, 256 * 4 + 4


def _bitsandbytes(name: str, source: str, layout: BlockLayout, scales: str) -> Precision:
    return Precision(name, 16, source, layout, LINEAR, scales, keeps=EXPERTS_STAY)


def _grouped(method: str, bits: int, group: int) -> Precision:
    """Return GPTQ or AWQ: for each group a scale in float16 and a zero point of as many bits as a weight."""
    gptq = method == "gptq"
    layout = BlockLayout(bits, 16 + bits, tile_columns=group, column_bytes=4 if gptq else 0)
    scales = f"a float16 and a {bits}-bit zero point for each group of {group} weights"
    scales += ", and g_idx of 4 bytes for each input" if gptq else ""
    return Precision(f"{method}-int{bits}-g{group}", 16, GPTQ if gptq else AWQ, layout, TEXT_LAYERS, scales)


def _fp8(name: str, rows: int | None, columns: int | None, scales: str) -> Precision:
    layout = BlockLayout(8, 32, tile_rows=rows, tile_columns=columns)
    return Precision(name, 16, FP8, layout, TEXT_LAYERS, scales)


def _gguf(file: str) -> Precision:
    source = "llama.cpp src/llama-quant.cpp, llama_tensor_get_type, at 8784689"
    return Precision(file, 32, source, parts=GGUF_PARTS, gguf=file)


FLAT_64 = BlockLayout(4, 32, tile_columns=64, flat=True)
_ALL = (
    Precision("float32", 32, IEEE),
    Precision("bfloat16", 16, IEEE),
    Precision("float16", 16, IEEE),
    _fp8("fp8", 128, 128, "a float32 for each block of 128 × 128 weights (DeepSeek-V3, transformers)"),
    _fp8("fp8-channel", 1, None, "a float32 for each output channel (compressed-tensors, as vLLM loads it)"),
    _fp8("fp8-tensor", None, None, "a float32 for each matrix"),
    _bitsandbytes(
        "int8", f"LLM.int8(), https://arxiv.org/abs/2208.07339; {BITSANDBYTES}, int8_vectorwise_quant",
        BlockLayout(8, 32), "a float32 for each row of a matrix",
    ),
    Precision(
        "int4", 16, "an ideal 4-bit format, for no particular loader", FLAT_64, LAYER_MATRICES,
        "a float32 for each block of 64 weights", certainty="assumed",
    ),
    _bitsandbytes("nf4", NF4, FLAT_64._replace(matrix_bytes=CODE_TABLE), BLOCKS_OF_64),
    _bitsandbytes(
        "nf4-dq", NF4,
        BlockLayout(
            4, 8, tile_columns=64, flat=True, scales_per_scale=256,
            matrix_bytes=CODE_TABLE + OUTER_TABLE_AND_OFFSET,
        ),
        "8 bits for each block of 64 weights, a float32 for each 256 of these, and tables for each matrix",
    ),
    _bitsandbytes("fp4", NF4, FLAT_64._replace(matrix_bytes=CODE_TABLE), BLOCKS_OF_64),
    *(_grouped("gptq", 4, group) for group in (128, 64, 32)),
    _grouped("gptq", 8, 128),
    *(_grouped("awq", 4, group) for group in (128, 64, 32)),
    Precision(
        "mxfp4", 16, MXFP4, BlockLayout(4, 8, tile_columns=32, padded=True), frozenset({"experts"}),
        "4 bits and an 8-bit scale for each block of 32 weights",
    ),
    Precision(
        "nvfp4", 16, NVFP4, BlockLayout(4, 8, tile_columns=16, padded=True, matrix_bytes=8), TEXT_LAYERS,
        "an fp8 for each block of 16 weights and two float32 for each matrix",
    ),
    *(_gguf(file) for file in FILES),
)  # fmt: skip
PRECISIONS = {precision.name: precision for precision in _ALL}
# llama-quantize's own short names.
ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}


def find_precision(dtype: str) -> Precision:
    """Return the precision called ``dtype``; WorkshopError with the choices."""
    name = ALIASES.get(dtype, dtype)
    if name not in PRECISIONS:
        raise WorkshopError(f"precision {dtype!r} is not known; choose one of {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]


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
