"""The estimate: sums, schema, what it refuses, and that measurements are never below it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import validate

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.models.catalogue import CONFIGS
from workshop_utils.models.config import Config
from workshop_utils.models.find import find_architecture
from workshop_utils.models.reading import read_architecture
from workshop_utils.units import MIB

MEASURED = json.loads(Path(__file__).with_name("measured_h200.json").read_text(encoding="utf-8"))["rows"]
COUNT, TEXT = {"type": "integer", "minimum": 0}, {"type": "string", "minLength": 1}
TERM = {
    "type": "object",
    "required": ["name", "kind", "bytes", "formula", "source", "certainty"],
    "additionalProperties": False,
    "properties": {
        "name": TEXT,
        "kind": {"enum": ["weights", "kv_cache", "process"]},
        "bytes": COUNT,
        "formula": TEXT,
        "source": TEXT,
        "certainty": {"enum": ["exact", "measured", "assumed"]},
    },
}
SCHEMA = {
    "type": "object",
    "required": [
        "model", "engine", "tokens", "batch", "per_gpu", "weights_bytes", "kv_cache_bytes", "peak_bytes",
        "process_bytes", "lower_bound", "not_counted", "notes",
    ],
    "properties": {
        "model": TEXT,
        "per_gpu": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["rank", "terms", "peak_bytes", "process_bytes"],
                "properties": {"rank": COUNT, "terms": {"type": "array", "items": TERM}},
            },
        },
        "weights_bytes": COUNT,
        "kv_cache_bytes": COUNT,
        "peak_bytes": COUNT,
        "process_bytes": COUNT,
        "lower_bound": {"const": True},
        "not_counted": {"type": "array", "minItems": 1, "items": TEXT},
        "notes": {"type": "array", "items": TEXT},
    },
}  # fmt: skip


def of(model: str, **options: object) -> Estimate:
    return estimate(find_architecture(model), **({"tokens": 4096} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["gemma-3-27b", "deepseek-v3", "smollm2-135m", "gpt-oss-20b"])
def test_json_follows_the_schema_and_sums_are_sums_of_its_terms(model: str) -> None:
    result = json.loads(json.dumps(of(model, tokens=32768, batch=4).as_json()))
    validate(result, SCHEMA)
    (gpu,) = result["per_gpu"]
    by_kind = {
        kind: sum(term["bytes"] for term in gpu["terms"] if term["kind"] == kind)
        for kind in ("weights", "kv_cache", "process")
    }
    assert (result["weights_bytes"], result["kv_cache_bytes"]) == (by_kind["weights"], by_kind["kv_cache"])
    assert result["peak_bytes"] == gpu["peak_bytes"] == by_kind["weights"] + by_kind["kv_cache"]
    assert result["process_bytes"] == gpu["process_bytes"] == sum(by_kind.values())


def test_gemma_3_27b_at_128k_by_hand() -> None:
    result = of("gemma-3-27b", tokens=131072)
    assert result.weights_bytes == 54_864_813_280
    assert result.kv_cache_bytes == 11_173_625_856


def test_a_batch_multiplies_the_cache_and_nothing_else() -> None:
    one, eight = of("llama-3.1-8b"), of("llama-3.1-8b", batch=8)
    assert eight.kv_cache_bytes == 8 * one.kv_cache_bytes
    assert eight.weights_bytes == one.weights_bytes


def test_int4_shrinks_the_weights_and_leaves_the_cache() -> None:
    plain, small = of("gemma-3-4b"), of("gemma-3-4b", dtype="int4")
    assert small.weights_bytes < plain.weights_bytes
    assert small.kv_cache_bytes == plain.kv_cache_bytes
    small_cache = of("gemma-3-4b", dtype="int4", kv_dtype="int4").kv_cache_bytes
    assert plain.kv_cache_bytes / 4 < small_cache < plain.kv_cache_bytes / 2


def test_process_overhead_is_measured_on_the_gpu_that_was_measured_and_assumed_elsewhere() -> None:
    certainties = {
        name: of("llama-3.1-8b", gpu=find_gpu(name) if name else None).per_gpu[0].terms[-1].certainty
        for name in ("H200", "A40", "")
    }
    assert certainties == {"H200": "measured", "A40": "assumed", "": "assumed"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tokens": 0}, "tokens 0 is out of range; give a whole number from 1"),
        ({"tokens": -5}, "tokens -5"),
        ({"tokens": 10**12}, "tokens 1000000000000"),
        ({"tokens": 1.5}, "tokens 1.5"),
        ({"batch": 0}, "batch 0"),
        ({"batch": 10**9}, "batch 1000000000"),
        ({"dtype": "int3"}, "'int3' is not known; choose one of"),
        ({"kv_dtype": "int3"}, "'int3' is not known; choose one of"),
        ({"engine": "vllm"}, "'vllm' is not estimated yet; choices: transformers."),
        (
            {"attention": "eager"},
            "attention eager is not estimated yet for engine transformers; choices: sdpa.",
        ),
        (
            {"tensor_parallel": 2},
            "tensor parallel size 2 is not estimated yet for engine transformers; choices: 1.",
        ),
        ({"pipeline_parallel": 0}, "pipeline parallel size 0 is not estimated yet"),
    ],
)
def test_what_is_not_estimated_is_refused_in_one_sentence(options: dict, words: str) -> None:
    with pytest.raises(WorkshopError) as caught:
        of("llama-3.1-8b", **options)
    assert words in str(caught.value)


def test_notes_say_what_a_reader_should_know() -> None:
    assert of("mistral-small-24b").notes == ()
    assert "131,072 tokens are more than the 32,768" in of("mistral-small-24b", tokens=131072).notes[0]
    assert "stored as mxfp4, not bfloat16" in of("gpt-oss-20b").notes[0]
    assert of("gpt-oss-20b", dtype="mxfp4").notes == ()


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['model']}-{row['tokens']}-{row['batch']}")
def test_a_measurement_on_an_h200_has_our_weights_and_cache_and_is_never_below_the_estimate(
    row: dict,
) -> None:
    fields = json.loads((CONFIGS / f"{row['model']}.json").read_text(encoding="utf-8"))
    # The measured Gemma was the text model alone.
    text = Config(fields.get("text_config", fields), row["model"], row["model"])
    result = estimate(read_architecture(text), tokens=row["tokens"], batch=row["batch"], gpu=find_gpu("H200"))
    # Buffers that are no parameters (rotary frequencies) make up the difference.
    assert row["weights"] == pytest.approx(result.weights_bytes, rel=1e-5)
    # The last generated token is never cached.
    assert 0 <= result.kv_cache_bytes - row["kv"] <= result.kv_cache_bytes / row["tokens"]
    assert result.peak_bytes <= row["peak_alloc"]
    assert result.process_bytes <= row["process"]
    overhead = result.process_bytes - result.peak_bytes
    assert 0 <= row["process"] - row["peak_reserved"] - overhead <= 4 * MIB


def test_memory_imports_no_torch_and_answers_in_little_cpu_time() -> None:
    program = (
        "import resource, sys, workshop_utils.memory.estimate_command\n"
        "from workshop_utils.cli import main\n"
        "assert main(['estimate', 'gemma-3-27b', '--tokens', '131072']) == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "assert used.ru_utime + used.ru_stime < 1.0, used\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_what_is_left_out_is_said_with_its_size() -> None:
    (mask,) = (text for text in of("gemma-3-4b", tokens=131_072).not_counted if "mask" in text)
    assert "51.5 GB" in mask
    assert not any("mask" in text for text in of("llama-3.1-8b").not_counted)


def test_a_loader_that_keeps_experts_large_is_named() -> None:
    (note,) = (note for note in of("mixtral-8x7b", dtype="int4").notes if "experts" in note)
    assert "90.2 GB" in note
    assert not any("experts" in note for note in of("llama-3.1-8b", dtype="int4").notes)


def test_a_gguf_file_that_transformers_may_unpack_is_noted() -> None:
    assert any("GGUF" in note for note in of("llama-3.1-8b", dtype="Q4_K_M").notes)
    assert not any("GGUF" in note for note in of("llama-3.1-8b", dtype="nf4").notes)
