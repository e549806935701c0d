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
        "kind": {"enum": ["weights", "kv_cache", "activations", "reserve", "process"]},
        "bytes": COUNT,
        "formula": TEXT,
        "source": TEXT,
        "certainty": {"enum": ["exact", "measured", "assumed"]},
    },
}
PHASE = {"type": ["integer", "null"], "minimum": 0}
GPU = {
    "type": "object",
    "required": [
        "rank",
        "terms",
        "peak_bytes",
        "process_bytes",
        "prefill_peak_bytes",
        "decode_peak_bytes",
    ],
    "additionalProperties": False,
    "properties": {
        "rank": COUNT,
        "terms": {"type": "array", "items": TERM, "minItems": 1},
        "peak_bytes": COUNT,
        "process_bytes": COUNT,
        "prefill_peak_bytes": PHASE,
        "decode_peak_bytes": PHASE,
    },
}
PROPERTIES = {
    "model": TEXT,
    "parameters": COUNT,
    "tokens": COUNT,
    "batch": COUNT,
    "dtype": TEXT,
    "kv_dtype": TEXT,
    "engine": TEXT,
    "attention": TEXT,
    "tensor_parallel": COUNT,
    "pipeline_parallel": COUNT,
    "data_parallel": COUNT,
    "expert_parallel": COUNT,
    "new_tokens": COUNT,
    "cache": TEXT,
    "prefill_chunk": {"type": ["integer", "null"]},
    "padded": {"type": "boolean"},
    "gpu": {"type": ["string", "null"]},
    "per_gpu": {"type": "array", "minItems": 1, "items": GPU},
    "weights_bytes": COUNT,
    "kv_cache_bytes": COUNT,
    "peak_bytes": COUNT,
    "process_bytes": COUNT,
    "fits": {"type": ["boolean", "null"]},
    "lower_bound": {"type": "boolean"},
    "not_counted": {"type": "array", "items": TEXT},
    "notes": {"type": "array", "items": TEXT},
}
# Of every engine; what one engine adds stands beside these.
SCHEMA = {
    "type": "object",
    "required": list(PROPERTIES),
    "additionalProperties": False,
    "properties": PROPERTIES,
}


def of(model: str, **options: object) -> Estimate:
    return estimate(find_architecture(model), **({"tokens": 4096} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["gemma-3-27b", "deepseek-v3", "smollm2-135m", "gpt-oss-20b"])
def test_json_follows_the_schema_and_sums_are_sums_of_its_terms(model: str) -> None:
    result = json.loads(json.dumps(of(model, tokens=32768, batch=4).as_json()))
    validate(result, SCHEMA)
    (gpu,) = result["per_gpu"]
    by_kind = {
        kind: sum(term["bytes"] for term in gpu["terms"] if term["kind"] == kind)
        for kind in ("weights", "kv_cache", "activations", "reserve", "process")
    }
    assert (result["weights_bytes"], result["kv_cache_bytes"]) == (by_kind["weights"], by_kind["kv_cache"])
    in_tensors = by_kind["weights"] + by_kind["kv_cache"] + by_kind["activations"]
    assert result["peak_bytes"] == gpu["peak_bytes"] == in_tensors
    assert gpu["peak_bytes"] == max(gpu["prefill_peak_bytes"], gpu["decode_peak_bytes"])
    assert result["process_bytes"] == gpu["process_bytes"] == sum(by_kind.values())
    assert (result["fits"], result["lower_bound"], result["not_counted"]) == (None, False, [])


def test_json_says_whether_it_fits_the_named_gpu() -> None:
    assert of("llama-3.1-8b", gpu=find_gpu("H200")).as_json()["fits"] is True
    assert of("llama-3.3-70b", gpu=find_gpu("H100-80GB")).as_json()["fits"] is False


def test_vllm_and_accelerate_add_their_figures_and_arguments_to_the_schema() -> None:
    gpu = find_gpu("H100-80GB")
    result = json.loads(json.dumps(of("qwen3-8b", engine="vllm", gpu=gpu, max_num_seqs=8).as_json()))
    assert result.pop("vllm").keys() >= {"kv_pool_bytes", "kv_cache_tokens", "max_concurrency"}
    assert result.pop("max_num_seqs") == 8
    validate(result, SCHEMA)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("granite-4-h-small", "mamba layers compute with"),
        ("qwen3-next-80b-a3b", "linear layers compute with"),
        ("flan-t5-base", "the encoder's activations"),
    ],
)
def test_what_is_missing_makes_it_a_lower_bound_and_is_named(model: str, words: str) -> None:
    result = of(model)
    assert result.as_json()["lower_bound"] is True
    assert any(words in missing for missing in result.not_counted)


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
        ({"engine": "sglang"}, "'sglang' is not estimated; choices: accelerate, transformers, vllm."),
        ({"engine": "vllm"}, "name one with --gpu"),
        ({"engine": "vllm", "cache": "static"}, "cache 'static' is not one of engine vllm; choices: paged."),
        ({"engine_version": "0.26"}, "engine_version 0.26 says nothing to engine transformers"),
        ({"new_tokens": 5000}, "new_tokens 5000 are more than all 4096 tokens"),
        ({"attention": "flash"}, "choices: sdpa, eager, flash_attention_2."),
        ({"tensor_parallel": 3}, "does not fit the 32 attention heads of llama-3.1-8b; choose 1, 2, 4"),
        ({"pipeline_parallel": 0}, "pipeline parallel size 0 is out of range; give a whole number from 1"),
        ({"pipeline_parallel": 33}, "more than the 32 layers of llama-3.1-8b"),
        ({"data_parallel": 0}, "data parallel size 0 is out of range"),
        ({"prefill_chunk": 0}, "prefill_chunk 0 is out of range"),
    ],
)
def test_what_is_not_estimated_is_refused_in_one_sentence(options: dict, words: str) -> None:
    with pytest.raises(WorkshopError) as caught:
        of("llama-3.1-8b", **options)
    assert words in str(caught.value)


def test_an_attention_that_a_gpu_is_too_old_for_is_refused() -> None:
    with pytest.raises(WorkshopError, match=r"V100-32GB has 7\.0; choose attention sdpa or eager\."):
        of("llama-3.2-1b", attention="flash_attention_2", gpu=find_gpu("V100-32GB"))
    assert of("llama-3.2-1b", attention="flash_attention_2", gpu=find_gpu("A100-40GB")).per_gpu
    assert of("llama-3.2-1b", attention="sdpa", gpu=find_gpu("V100-32GB")).per_gpu


def test_notes_say_what_a_reader_should_know() -> None:
    assert of("mistral-small-24b").notes == ()
    assert "131,072 tokens are more than the 32,768" in of("mistral-small-24b", tokens=131072).notes[0]
    assert "stored as mxfp4, not bfloat16" in of("gpt-oss-20b").notes[0]
    assert of("gpt-oss-20b", dtype="mxfp4").notes == ()


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['model']}-{row['tokens']}-{row['batch']}")
def test_a_measurement_on_an_h200_is_what_is_predicted(row: dict) -> None:
    fields = json.loads(Path(CONFIGS, f"{row['model']}.json").read_text(encoding="utf-8"))
    # The measured Gemma was the text model alone.
    text = Config(fields.get("text_config", fields), row["model"], row["model"])
    result = estimate(read_architecture(text), tokens=row["tokens"], batch=row["batch"], gpu=find_gpu("H200"))
    # Buffers that are no parameters (rotary frequencies) make up the difference.
    assert row["weights"] == pytest.approx(result.weights_bytes, rel=1e-5)
    # The last generated token is never cached.
    assert 0 <= result.kv_cache_bytes - row["kv"] <= result.kv_cache_bytes / row["tokens"]
    beside_weights = result.peak_bytes - result.weights_bytes
    assert beside_weights == pytest.approx(row["peak_alloc"] - row["weights"], rel=0.01)
    # These weights were loaded tensor by tensor, each into segments of its own.
    assert result.process_bytes == pytest.approx(row["process"], rel=0.05)
    assert result.fits(find_gpu("H200"))
    context = result.per_gpu[0].bytes_of("process")
    assert 0 <= row["process"] - row["peak_reserved"] - context <= 4 * MIB


def test_memory_imports_no_torch_and_answers_in_little_cpu_time() -> None:
    program = (
        "import resource, sys, workshop_utils.memory.estimate_command\n"
        "from workshop_utils.cli import main\n"
        "assert main(['estimate', 'gemma-3-27b', '--tokens', '131072']) == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'huggingface_hub'} & set(sys.modules)\n"
        "heavy |= {'difflib', 'pathlib', 'shutil', 'tomllib'} & set(sys.modules)  # a tenth of its time\n"
        "assert not heavy, heavy\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "assert used.ru_utime + used.ru_stime < 1.0, used\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_mask_is_a_term_of_tokens_by_tokens_where_a_window_needs_one() -> None:
    def masks(model: str) -> list[int]:
        terms = of(model, tokens=131_072).per_gpu[0].terms
        return [term.bytes for term in terms if term.name == "activations: attention mask"]

    # One byte for each pair of the prompt's tokens: 131,056, of all but the 16 of the answer.
    assert masks("gemma-3-4b") == [pytest.approx(131_056**2, rel=1e-6)]
    assert masks("llama-3.1-8b") == []


def test_a_batch_of_replicas_is_shared() -> None:
    whole, shared = of("llama-3.1-8b", batch=4), of("llama-3.1-8b", batch=8, data_parallel=2)
    assert [rank.needed for rank in shared.per_gpu] == [whole.per_gpu[0].needed] * 2


def test_smaller_gpus_make_the_allocator_give_back_before_it_fails() -> None:
    rank = of("gemma-3-4b", tokens=131_072).per_gpu[0]
    assert rank.needed_bytes < rank.process_bytes
    assert rank.fits(rank.process_bytes)
    assert not rank.fits(rank.needed_bytes - 1)


def test_a_loader_that_keeps_experts_large_is_named() -> None:
    (note,) = (note for note in of("mixtral-8x7b", dtype="int4").notes if "experts" in note)
    assert "90.2 GB" in note
    assert not any("experts" in note for note in of("llama-3.1-8b", dtype="int4").notes)


def test_a_gguf_file_that_transformers_may_unpack_is_noted() -> None:
    assert any("GGUF" in note for note in of("llama-3.1-8b", dtype="Q4_K_M").notes)
    assert not any("GGUF" in note for note in of("llama-3.1-8b", dtype="nf4").notes)
