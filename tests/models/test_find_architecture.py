"""What a reader may write for MODEL, and one clear sentence for everything else."""

import json
import os
from pathlib import Path

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.models.catalogue import CONFIGS, load_catalogue
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.models.reading import supported_model_types

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
}
QWEN = {"model_type": "qwen3", "num_key_value_heads": 2}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache of this test's own; nothing outside is read."""
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_config(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    fields = {name: value for name, value in (LLAMA | changes).items() if value is not ...}
    file = folder / "config.json"
    file.write_text(json.dumps(fields), encoding="utf-8")
    return file


def message_of(model: str) -> str:
    with pytest.raises(WorkshopError) as caught:
        find_architecture(model)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_every_catalogue_entry_has_a_source_and_a_config_of_its_own() -> None:
    entries = load_catalogue()
    assert {entry.name for entry in entries} == {file.stem for file in Path(CONFIGS).glob("*.json")}
    assert all(len(entry.source) > 20 for entry in entries)
    ids = [name.casefold() for entry in entries for name in entry.ids]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "model", ["gemma-3-27b", "Gemma-3-27B", " google/gemma-3-27b-it ", "GOOGLE/GEMMA-3-27B-IT"]
)
def test_catalogue_names_and_ids_in_any_case(model: str) -> None:
    assert find_architecture(model).name == "gemma-3-27b"


def test_a_folder_and_a_file_are_read(tmp_path: Path) -> None:
    file = write_config(tmp_path / "my-model")
    assert find_architecture(str(file.parent)) == find_architecture(str(file))
    assert find_architecture("my-model").name == "my-model"
    renamed = file.rename(tmp_path / "other.json")
    assert find_architecture(str(renamed)).name == "other"


def test_an_id_of_the_local_cache_uses_its_main_branch(tmp_path: Path) -> None:
    folder = tmp_path / "hf" / "hub" / "models--someone--a-model"
    write_config(folder / "snapshots" / "aaa", num_hidden_layers=3)
    newest = write_config(folder / "snapshots" / "bbb", num_hidden_layers=5)
    os.utime(newest, (2_000_000_000, 2_000_000_000))
    assert len(find_architecture("someone/a-model").layers) == 5
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("aaa", encoding="utf-8")
    found = find_architecture("someone/a-model")
    assert len(found.layers) == 3
    assert found.name == "someone/a-model"


def test_an_interrupted_download_is_no_model(tmp_path: Path) -> None:
    snapshot = tmp_path / "hf" / "hub" / "models--someone--a-model" / "snapshots" / "aaa"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to(tmp_path / "gone")
    assert "'someone/a-model'" in message_of("someone/a-model")


def test_hf_hub_cache_goes_before_hf_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path / "elsewhere" / "models--someone--a-model" / "snapshots" / "aaa")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert find_architecture("someone/a-model").name == "someone/a-model"


@pytest.mark.parametrize(
    ("model", "suggested"),
    [("gemma-3-27", "gemma-3-27b"), ("llama-3.1-8", "llama-3.1-8b"), ("google/gemma-3-4b", "gemma-3-4b")],
)
def test_a_near_miss_suggests_the_name(model: str, suggested: str) -> None:
    message = message_of(model)
    assert model in message
    assert "the closest names are" in message
    assert suggested in message


@pytest.mark.parametrize(
    "model", ["", "zzzz", "a/b/c", "../../models--x", "x\0y", "n" * 5000, "someone/unknown"]
)
def test_a_name_that_is_nowhere_lists_the_catalogue(model: str) -> None:
    message = message_of(model)
    assert "does not exist" in message or "smollm2-135m" in message


def test_a_missing_file_and_a_folder_without_config_say_so(tmp_path: Path) -> None:
    assert "does not exist" in message_of(str(tmp_path / "gone"))
    assert "does not exist" in message_of("gone/config.json")
    (tmp_path / "empty").mkdir()
    assert "no config.json" in message_of("empty")


@pytest.mark.parametrize("text", ["", "{", "not json", '{"a": 1,}', "\ud800"])
def test_what_is_not_json_says_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    assert "is not JSON" in message_of(str(file))


@pytest.mark.parametrize("text", ["[]", "3", "null", '"llama"'])
def test_json_that_is_no_object_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    assert "not an object" in message_of("config.json")


def test_weights_or_a_device_in_place_of_a_config_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(50 * 10**9)  # sparse: takes no disk
    assert "is no config.json" in message_of("model.safetensors")
    assert "is no config.json" in message_of("/dev/zero")


def test_all_missing_fields_are_named(tmp_path: Path) -> None:
    write_config(tmp_path, hidden_size=..., vocab_size=None)
    message = message_of("config.json")
    assert "lacks hidden_size, vocab_size;" in message
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert "lacks model_type;" in message_of("config.json")


def test_missing_fields_of_a_section_are_named_with_the_section(tmp_path: Path) -> None:
    fields = {"model_type": "gemma3", "text_config": {"hidden_size": 64}, "vision_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    assert "lacks text_config.intermediate_size, text_config.num_hidden_layers;" in message_of("config.json")


@pytest.mark.parametrize("model_type", ["no_such_type", "../llama", "llama.mistral", "__init__", ""])
def test_an_unknown_model_type_is_named_with_the_supported_ones(tmp_path: Path, model_type: str) -> None:
    write_config(tmp_path, model_type=model_type)
    message = message_of("config.json")
    assert f"model_type {model_type}" in message
    assert all(name in message for name in supported_model_types())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", "64"),
        ("hidden_size", -64),
        ("hidden_size", 64.0),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", True),
        ("num_attention_heads", [4]),
        ("attention_bias", "yes"),
        ("torch_dtype", 16),
        ("model_type", ["llama"]),
        ("quantization_config", "fp8"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named_with_its_value(tmp_path: Path, field: str, value: object) -> None:
    write_config(tmp_path, **{field: value})
    assert f"{field} = {json.dumps(value)}, and it must be" in message_of("config.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_key_value_heads": 3}, "does not divide"),
        ({"hidden_size": 65}, "no multiple of num_attention_heads"),
        (QWEN | {"layer_types": ["full_attention"]}, "1 layer_types for num_hidden_layers 2"),
        (QWEN | {"layer_types": ["mamba", "full_attention"]}, "layer_types with mamba"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers 1000000000000"),
        ({"model_type": "gemma4_text"}, "hidden_size_per_layer_input = 256"),
    ],
)
def test_fields_that_do_not_fit_one_another_say_so(tmp_path: Path, changes: dict, words: str) -> None:
    write_config(tmp_path, **changes)
    assert words in message_of("config.json")


def test_gemma_3_defaults_are_those_of_its_config_class_not_hidden_size_over_heads() -> None:
    small, middle = find_architecture("gemma-3-4b"), find_architecture("gemma-3-12b")
    assert {(a.heads, a.kv_heads, a.head_dim) for a in (layer.attention for layer in small.layers)} == {
        (8, 4, 256)
    }
    assert {layer.attention.head_dim for layer in middle.layers} == {256}
    assert [layer.attention.kind for layer in small.layers[:7]] == ["sliding"] * 5 + ["full", "sliding"]


def test_an_absent_window_is_the_class_default_and_null_is_none(tmp_path: Path) -> None:
    write_config(tmp_path / "absent", model_type="mistral", num_key_value_heads=2)
    write_config(tmp_path / "null", model_type="mistral", num_key_value_heads=2, sliding_window=None)
    assert find_architecture("absent").layers[0].attention.window == 4096
    assert find_architecture("null").layers[0].attention.window is None


def test_a_qwen3_window_counts_only_when_switched_on(tmp_path: Path) -> None:
    window = QWEN | {"sliding_window": 32, "max_window_layers": 1}
    write_config(tmp_path / "off", **window)
    write_config(tmp_path / "on", use_sliding_window=True, **window)
    assert find_architecture("off").layer_kinds == {"full": 2}
    assert find_architecture("on").layer_kinds == {"full": 1, "sliding": 1}


def test_a_text_only_gemma_3_has_no_tower(tmp_path: Path) -> None:
    text = json.loads(Path(CONFIGS, "gemma-3-4b.json").read_text(encoding="utf-8"))["text_config"]
    (tmp_path / "config.json").write_text(json.dumps(text), encoding="utf-8")
    whole = count_parameters(find_architecture("gemma-3-4b"))
    assert count_parameters(find_architecture("config.json")).total == whole.total - whole.by_part["vision"]


@pytest.mark.parametrize(
    ("quantization", "stored"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq-int4-g128"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "gptq-int8-g128"),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "gptq"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        (
            {"quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
            "nf4-dq",
        ),
        ({"quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4"}, "nf4"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "a new one"}, "a new one"),
        ({}, None),
    ],
)
def test_how_the_published_weights_are_stored(
    tmp_path: Path, quantization: dict[str, object], stored: str | None
) -> None:
    write_config(tmp_path, quantization_config=quantization)
    assert find_architecture("config.json").stored_as == stored
