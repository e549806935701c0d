"""A model on a device map says what it says on one device, and what goes wrong leaves nothing behind."""

import errno
import gc
import json
import resource
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_config
from transformers import AutoModelForCausalLM

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.shape_twin import build_twin
from workshop_utils.parallel.big_model.checkpoint import INDEX, read_checkpoint
from workshop_utils.parallel.big_model.devices import DISK, HOST, Key
from workshop_utils.parallel.big_model.dispatched_twin import dispatch_twin
from workshop_utils.parallel.big_model.load import load_checkpoint, moved_bytes, release
from workshop_utils.parallel.big_model.load_time import disk_bytes, evict, read_all, timed_load

ALONE: dict[str, Key] = {"": HOST}
PROMPT = torch.arange(3, 19)[None]


def offloaded(layers: int, away: int, ends: Key = HOST) -> dict[str, Key]:
    """The first layers in host memory, ``away`` on the disk; embedding, norm and head on ``ends``."""
    homes = [HOST] * (layers - away) + [DISK] * away
    beside = dict.fromkeys(("model.embed_tokens", "lm_head", "model.norm"), ends)
    return {**beside, "model.rotary_emb": HOST, **{f"model.layers.{n}": home for n, home in enumerate(homes)}}


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(PROMPT).logits.clone()


@pytest.mark.parametrize("family", ["smollm2", "llama", "gemma3_text", "qwen3_moe"])
def test_a_twin_is_the_same_model_on_every_map(tmp_path: Path, family: str) -> None:
    model, folder = str(write_config(tmp_path, family)), tmp_path / "offload"
    twin = dispatch_twin(model, ALONE, dtype="float32")
    expected, whole = logits(twin), sum(parameter.nbytes for parameter in twin.parameters())
    assert expected.std() > 0
    assert moved_bytes(twin) == 0
    for modules in (offloaded(4, 1), offloaded(4, 3), offloaded(4, 2, ends=DISK)):
        twin = dispatch_twin(model, modules, dtype="float32", offload_folder=folder)
        assert torch.equal(logits(twin), expected)
        held = {id(p): p.nbytes for p in twin.parameters() if p.device.type != "meta"}
        on_disk = sum(file.stat().st_size for file in folder.glob("*.dat"))
        assert on_disk == moved_bytes(twin)
        tied_twice = twin.config.tie_word_embeddings and modules["lm_head"] == DISK
        again = twin.config.vocab_size * twin.config.hidden_size * 4 if tied_twice else 0
        assert sum(held.values()) + on_disk == whole + again
        release(twin)
        assert not folder.exists()
        assert {parameter.device.type for parameter in twin.parameters()} == {"meta"}
        assert not any(hasattr(module, "_hf_hook") for module in twin.modules())


def test_a_released_twin_holds_no_memory(tmp_path: Path) -> None:
    twin = dispatch_twin(str(write_config(tmp_path, "llama")), ALONE, dtype="float32")
    held = [weakref.ref(parameter) for parameter in twin.parameters()]
    release(twin)
    gc.collect()
    assert all(parameter() is None for parameter in held)


def test_the_real_model_writes_the_same_with_half_of_it_on_the_disk(
    small_model: Path, tmp_path: Path
) -> None:
    def tokens(modules: dict[str, Key]) -> list[int]:
        folder = tmp_path / "offload"
        model = load_checkpoint(small_model, modules, dtype="float32", offload_folder=folder)
        with torch.inference_mode():
            made = model.generate(
                PROMPT, attention_mask=torch.ones_like(PROMPT), max_new_tokens=4, do_sample=False
            )
        assert folder.exists() == (DISK in modules.values())
        release(model)
        assert not folder.exists()
        return list(made[0].tolist())

    expected = tokens(ALONE)
    assert len(expected) == PROMPT.shape[1] + 4
    assert tokens(offloaded(30, 15)) == expected
    # The tied head lies in the checkpoint under the embedding's name.
    assert tokens(offloaded(30, 15, ends=DISK)) == expected


def test_tied_embeddings_stay_one_in_memory(small_model: Path, tmp_path: Path) -> None:
    model = load_checkpoint(
        small_model, offloaded(30, 29), dtype="bfloat16", offload_folder=tmp_path / "offload"
    )
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.lm_head.weight.device.type == "cpu"
    layer = sum(parameter.nbytes for parameter in model.model.layers[0].parameters())
    assert moved_bytes(model) == 29 * layer
    release(model)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untied model in several shards."""
    place = tmp_path_factory.mktemp("checkpoint")
    config = write_config(place, "llama")
    twin = build_twin(str(config), dtype="float32")
    twin.save_pretrained(place / "sharded", max_shard_size="100KB")
    assert len(list((place / "sharded").glob("*.safetensors"))) >= 3
    return place / "sharded"


@pytest.fixture
def copy(sharded: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in sharded.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_sharded_checkpoint_is_loaded_and_timed(sharded: Path, tmp_path: Path) -> None:
    expected = logits(AutoModelForCausalLM.from_pretrained(sharded, dtype=torch.float32))
    model, load = timed_load(sharded, offloaded(4, 2), dtype="float32", offload_folder=tmp_path / "offload")
    assert torch.equal(logits(model), expected)
    release(model)
    assert load.bytes == sum(file.stat().st_size for file in sharded.glob("*.safetensors"))
    assert load.load_gb_per_s * load.load_seconds == pytest.approx(load.bytes / 1e9)
    assert load.read_gb_per_s > load.load_gb_per_s


def test_evicted_files_come_from_the_disk_again(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(2**24))
    fetched = []
    for forget in (False, True):
        if forget:
            evict([file])
        before = disk_bytes()
        read_all([file])
        after = disk_bytes()
        fetched.append(0 if before is None or after is None else after - before)
    if fetched[1] == 0:
        pytest.skip("this system counts no reads from a disk, or its files lie in memory")
    assert fetched[0] < 2**20 < 2**24 <= fetched[1]


def truncate(folder: Path) -> None:
    file = sorted(folder.glob("*-00002-of-*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-100])


def drop(folder: Path) -> None:
    sorted(folder.glob("*-00002-of-*.safetensors"))[0].unlink()


def cut_index(folder: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": {"a', encoding="utf-8")


def lead_out(folder: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": {"a": "../b"}}', encoding="utf-8")


def lose_tensor(folder: Path) -> None:
    text = (folder / INDEX).read_text(encoding="utf-8")
    (folder / INDEX).write_text(text.replace("layers.3.mlp.up", "layers.3.mlp.left"), encoding="utf-8")


def lose_index(folder: Path) -> None:
    (folder / INDEX).unlink()


def add_layer(folder: Path) -> None:
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    fields |= {"num_hidden_layers": 5, "layer_types": None}
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (drop, r"names \d+ shards and model-00002-of-\d+\.safetensors is not in .*; download or save"),
        (truncate, r"model-00002-of-\d+\.safetensors is half-written \(.*\); download or save"),
        (cut_index, r"is no index of shards"),
        (lead_out, r"no shards beside it"),
        (lose_tensor, r"lacks model\.layers\.3\.mlp\.left"),
        (lose_index, r"holds neither model\.safetensors\.index\.json nor"),
        (add_layer, r"9 parameters of LlamaForCausalLM, .*model\.layers\.4"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_nothing_is_loaded(
    copy: Path, tmp_path: Path, damage: Any, sentence: str
) -> None:
    damage(copy)
    with pytest.raises(WorkshopError, match=sentence):
        load_checkpoint(
            copy,
            {**offloaded(4, 2), "model.layers.4": DISK},
            dtype="float32",
            offload_folder=tmp_path / "offload",
        )
    assert not (tmp_path / "offload").exists()


def test_a_disk_that_fills_while_loading_is_said_and_emptied(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("accelerate.utils.modeling.offload_weight", full)
    with pytest.raises(WorkshopError, match=r"could not be written to .* \(No space left on device\)"):
        load_checkpoint(sharded, offloaded(4, 2), dtype="float32", offload_folder=tmp_path / "offload")
    assert not (tmp_path / "offload").exists()


def test_a_disk_that_takes_no_more_of_a_twin_is_said_and_emptied(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    model = str(write_config(tmp_path, "llama"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(WorkshopError, match=r"could not be written to .* \(File too large\)"):
            dispatch_twin(model, offloaded(4, 2), dtype="bfloat16", offload_folder=tmp_path / "offload")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "offload").exists()


@pytest.mark.parametrize(
    ("modules", "sentence"),
    [
        ({"": "cuda:0"}, r"puts '' on 'cuda:0'; the devices are 'cpu', 'disk'"),
        ({"model": 3, "lm_head": HOST}, r"puts 'model' on 3; the devices are"),
        ({"model": HOST, "lm_head": DISK}, r"puts 'lm_head' on the disk; name an offload folder"),
        (
            {"": HOST, "model.layrs.3": HOST},
            r"names 'model\.layrs\.3', which .* are 'model\.layers\.3'",
        ),
        ({"": HOST, "?": HOST}, r"names '\?', which LlamaForCausalLM .* are 'model', 'lm_head'"),
    ],
)
def test_a_map_that_cannot_be_is_one_sentence(sharded: Path, modules: dict[str, Key], sentence: str) -> None:
    with pytest.raises(WorkshopError, match=sentence):
        load_checkpoint(sharded, modules, dtype="float32")
    with pytest.raises(WorkshopError, match=sentence):
        dispatch_twin(str(sharded), modules, dtype="float32")


def test_a_map_may_name_parameters_and_buffers(sharded: Path) -> None:
    beside: dict[str, Key] = {"lm_head.weight": HOST, "model.rotary_emb.inv_freq": HOST}
    release(dispatch_twin(str(sharded), ALONE | beside, dtype="float32"))
    release(load_checkpoint(sharded, ALONE | beside, dtype="float32"))


def test_one_file_is_a_checkpoint_too(small_model: Path) -> None:
    found = read_checkpoint(small_model)
    assert [file.name for file in found.files] == ["model.safetensors"]
    assert "model.embed_tokens.weight" in found.homes
