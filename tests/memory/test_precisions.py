"""Bits of each format against the libraries that store it and the files that people publish."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.block_layout import BlockLayout
from workshop_utils.memory.gguf_types import FILES, TYPES, Place, gguf_layout
from workshop_utils.memory.matrices import Matrix
from workshop_utils.memory.precisions import PRECISIONS, find_precision
from workshop_utils.memory.sharding import whole_model
from workshop_utils.memory.weights import weight_terms
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

STORED = json.loads(Path(__file__).with_name("quantised_storage.json").read_text(encoding="utf-8"))
BLOCKS = [name for name in TYPES if name != "F16"]


def weights_bytes(model: str, dtype: str) -> int:
    return sum(term.bytes for term in weight_terms(whole_model(find_architecture(model)), dtype))


def layout_of(dtype: str) -> BlockLayout:
    layout = find_precision(dtype).layout
    assert layout is not None
    return layout


def stored_bytes(layout: BlockLayout, rows: int, columns: int) -> int:
    return layout.value_bytes(rows, columns) + layout.scale_bytes(rows, columns)


@pytest.mark.parametrize(
    "row", STORED["stored_tensors"]["rows"], ids=lambda row: f"{row['format']}-{row['rows']}x{row['columns']}"
)
def test_a_quantised_matrix_takes_what_bitsandbytes_stores(row: dict) -> None:
    layout = layout_of(row["format"])
    assert layout.value_bytes(row["rows"], row["columns"]) == row["bytes"]["data"]
    assert stored_bytes(layout, row["rows"], row["columns"]) == sum(row["bytes"].values())


@pytest.mark.parametrize("name", BLOCKS)
def test_gguf_blocks_have_the_sizes_of_the_library(name: str) -> None:
    weights, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    assert stored_bytes(TYPES[name], 1, weights) == size
    assert TYPES[name].bits_per_weight == 8 * size / weights


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_gguf_really_stores_so_many_bytes(name: str) -> None:
    matrix = np.random.default_rng(0).standard_normal((6, 96), dtype=np.float32)
    quantised = gguf.quants.quantize(matrix, gguf.GGMLQuantizationType[name])
    assert quantised.nbytes == stored_bytes(TYPES[name], 6, 96)


@pytest.mark.parametrize("name", STORED["llama_cpp"]["bits_per_weight"])
def test_bits_per_weight_are_those_that_llama_cpp_publishes(name: str) -> None:
    model = STORED["llama_cpp"]["model"]
    bits = 8 * weights_bytes(model, name) / count_parameters(find_architecture(model)).total
    assert round(bits, 4) == STORED["llama_cpp"]["bits_per_weight"][name]


def test_the_tensors_of_a_real_gguf_file_are_predicted_to_the_byte() -> None:
    file = STORED["gguf_file"]
    assert weights_bytes(file["model"], file["dtype"]) == sum(file["bytes_by_type"].values())


@pytest.mark.parametrize("row", STORED["files"]["rows"], ids=lambda row: f"{row['model']}-{row['dtype']}")
def test_published_files_have_the_predicted_size(row: dict) -> None:
    # Listings round to three digits, and a file has up to 10 MB of tokenizer and names.
    rounding = 0.5 * 10 ** (np.floor(np.log10(row["gb"])) - 2)
    assert -rounding - 0.010 <= weights_bytes(row["model"], row["dtype"]) / 1e9 - row["gb"] <= rounding + 1e-3


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        ("nf4", 4 + 32 / 64),
        ("nf4-dq", 4 + 8 / 64 + 32 / (64 * 256)),
        ("fp4", 4.5),
        ("int4", 4.5),
        ("fp8", 8 + 32 / 128**2),
        ("gptq-int4-g128", 4 + (16 + 4) / 128),
        ("gptq-int4-g64", 4 + (16 + 4) / 64),
        ("gptq-int4-g32", 4 + (16 + 4) / 32),
        ("gptq-int8-g128", 8 + (16 + 8) / 128),
        ("awq-int4-g128", 4 + (16 + 4) / 128),
        ("mxfp4", 4.25),
        ("nvfp4", 4.5),
        ("Q4_K_M", 4.5),
        ("Q8_0", 8.5),
    ],
)
def test_bits_of_a_weight_with_its_share_of_scales(dtype: str, bits: float) -> None:
    assert PRECISIONS[dtype].bits == bits


@pytest.mark.parametrize(
    ("dtype", "rows", "columns", "size"),
    [
        # Two groups of 128 for 200 inputs: 5 scales of 2 bytes and zeros of ½ a byte each, twice; g_idx.
        ("gptq-int4-g128", 5, 200, 500 + 2 * 5 * 2 + 5 + 4 * 200),
        ("awq-int4-g128", 6, 200, 600 + 2 * 6 * 2 + 6),
        # 130 × 200 lies in 2 × 2 blocks of 128 × 128.
        ("fp8", 130, 200, 26_000 + 4 * 4),
        ("fp8-channel", 130, 200, 26_000 + 130 * 4),
        ("fp8-tensor", 130, 200, 26_000 + 4),
        ("int8", 130, 200, 26_000 + 130 * 4),
        # 40 inputs fill 2 blocks of 32, which are stored whole.
        ("mxfp4", 3, 40, 3 * 2 * (16 + 1)),
        # 7 × 11 = 77 values in 39 bytes, 2 blocks of 64, and the table of 16 float32.
        ("nf4", 7, 11, 39 + 2 * 4 + 64),
    ],
)
def test_the_last_group_is_rounded_up(dtype: str, rows: int, columns: int, size: int) -> None:
    assert stored_bytes(layout_of(dtype), rows, columns) == size


@pytest.mark.parametrize(
    ("file", "columns", "name"),
    [
        ("Q4_K_M", 512, "Q4_K"), ("Q4_K_M", 576, "Q5_0"), ("Q5_K_S", 576, "Q5_1"), ("Q6_K", 576, "Q8_0"),
        ("Q2_K", 576, "IQ4_NL"), ("Q4_K_M", 100, "F16"), ("Q8_0", 100, "F16"),
    ],
)  # fmt: skip
def test_a_row_that_no_block_divides_falls_back(file: str, columns: int, name: str) -> None:
    assert gguf_layout(file, Matrix("mlp", 64, columns), Place()).name == name


def test_q4_k_m_spends_more_on_the_first_the_last_and_each_third_layer() -> None:
    down = Matrix("mlp", 4096, 14336, "down")
    names = [gguf_layout("Q4_K_M", down, Place(number, 32)).name for number in range(32)]
    assert [number for number, name in enumerate(names) if name == "Q6_K"] == [
        0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31,
    ]  # fmt: skip


@pytest.mark.parametrize("short", ["Q3_K", "Q4_K", "Q5_K"])
def test_short_names_mean_the_medium_mixture_as_in_llama_cpp(short: str) -> None:
    assert find_precision(short) is PRECISIONS[f"{short}_M"]
    assert f"{short}_M" in FILES


def test_every_precision_names_its_source_and_its_scales() -> None:
    for precision in PRECISIONS.values():
        assert precision.source
        assert bool(precision.scales) == (precision.layout is not None)
    with pytest.raises(WorkshopError, match=r"'q9' is not known; choose one of float32, .*Q4_K_M"):
        find_precision("q9")
