"""Shape twins: the true bytes, tied weights, rotary tables and spread routing, on tiny and reduced models."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
import transformers

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.shape_twin import (
    build_skeleton,
    build_twin,
    first_layers,
    parameter_bytes,
    twin_architecture,
)
from workshop_utils.measure.stages import beside, split_evenly, stage_map
from workshop_utils.models.catalogue import CONFIGS
from workshop_utils.models.parameters import count_parameters

SMALL = {
    "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 48, "vocab_size": 512,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "num_local_experts": 8, "num_experts": 8, "num_experts_per_tok": 2, "top_k_experts": 2,
    "num_global_key_value_heads": 1, "global_head_dim": 32, "pad_token_id": 0,
    "hidden_size_per_layer_input": 0,
}  # fmt: skip
SMALL_VISION = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4}
NAMES = [
    "llama-3.1-8b",
    "gemma-3-4b",
    "gpt-oss-20b",
    "qwen3-30b-a3b",
    "gemma-4-26b-a4b",
    "phi-4",
    "gemma-2-9b",
]


def shrink(fields: dict, sizes: dict) -> dict:
    known = {name: size for name, size in sizes.items() if name in fields or name == "num_key_value_heads"}
    return first_layers(fields, 2, "tiny") | known if "num_hidden_layers" in fields else fields | known


@pytest.fixture
def tiny(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A catalogue config of which every width is small; its rotary scaling and layer pattern stay."""
    fields = json.loads(Path(CONFIGS, f"{request.param}.json").read_text(encoding="utf-8"))
    if "text_config" in fields:
        fields["text_config"] = shrink(fields["text_config"], SMALL)
        fields["vision_config"] |= {k: v for k, v in SMALL_VISION.items() if k in fields["vision_config"]}
    else:
        fields = shrink(fields, SMALL)
    (tmp_path / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    return str(tmp_path)


def attention_of(name: str) -> str:
    return "eager" if name.startswith("gpt-oss") else "sdpa"


@pytest.mark.parametrize(("tiny", "name"), [(name, name) for name in NAMES], indirect=["tiny"])
def test_a_twin_has_the_buffers_norms_and_ties_of_the_model_built_the_usual_way(tiny: str, name: str) -> None:
    twin = build_twin(tiny, attention=attention_of(name))
    config = type(twin.config).from_pretrained(tiny)
    usual = type(twin)._from_config(config, dtype="bfloat16", attn_implementation=attention_of(name))
    expected = dict(usual.named_buffers())
    for key, buffer in twin.named_buffers():
        assert buffer.dtype == expected[key].dtype, key
        assert torch.equal(buffer, expected[key]), key
    for (key, weight), usual_weight in zip(twin.named_parameters(), usual.parameters(), strict=True):
        assert weight.isfinite().all(), key
        if "norm" in key:
            assert torch.equal(weight, usual_weight), key
        elif weight.dim() > 1:
            spread = usual_weight.float().std().item()
            # Five standard errors of a sample's spread: a small router has few weights.
            within = max(0.1, 5 / (2 * weight.numel()) ** 0.5)
            assert weight.float().std().item() == pytest.approx(spread, rel=within), key
    tied = twin.get_output_embeddings().weight is twin.get_input_embeddings().weight
    assert tied == twin.config.get_text_config().tie_word_embeddings
    answer = twin.generate(input_ids=torch.ones(1, 5, dtype=torch.long), max_new_tokens=2, min_new_tokens=2)
    assert answer.shape == (1, 7)


@pytest.mark.parametrize("tiny", ["qwen3-30b-a3b"], indirect=True)
def test_the_router_of_a_twin_spreads_tokens_over_its_experts(tiny: str) -> None:
    twin = build_twin(tiny, dtype="float32")
    ids = torch.randint(0, 512, (1, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = twin(ids, output_router_logits=True).router_logits[-1]
    chosen = Counter(logits.topk(2).indices.flatten().tolist())
    # random routers are not even: which expert stays empty differs from machine to machine
    assert len(chosen) > 4
    assert max(chosen.values()) < 64


def test_a_twin_of_the_small_model_has_the_bytes_of_the_real_one() -> None:
    twin = build_twin("HuggingFaceTB/SmolLM2-135M-Instruct")
    # 134,515,008 values, as the published file counts them (models/catalogue.toml)
    assert parameter_bytes(twin) == {"cpu": 2 * 134_515_008}


def test_fewer_layers_count_as_the_architecture_counts_them() -> None:
    whole, two = (count_parameters(twin_architecture("smollm2-135m", layers)) for layers in (30, 2))
    assert sum(parameter_bytes(build_twin("smollm2-135m", layers=2)).values()) == 2 * two.total
    assert whole.by_part["mlp"] == 15 * two.by_part["mlp"]
    assert twin_architecture("smollm2-135m") == twin_architecture("smollm2-135m", 30)


@pytest.mark.parametrize("layers", [0, 31])
def test_a_depth_that_the_model_has_not_is_one_sentence(layers: int) -> None:
    with pytest.raises(WorkshopError, match=rf"has 30 layers, not {layers}; give a number from 1 to 30"):
        build_twin("smollm2-135m", layers=layers)


def test_an_attention_that_the_model_has_not_is_one_sentence() -> None:
    with pytest.raises(WorkshopError, match="gpt-oss-20b cannot be built with attention sdpa"):
        build_skeleton("gpt-oss-20b")


def test_bytes_that_the_architecture_does_not_count_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    untied = build_skeleton("smollm2-135m", layers=1)
    untied.lm_head.weight = torch.nn.Parameter(untied.lm_head.weight.clone())
    untied.config.tie_word_embeddings = False
    untied.all_tied_weights_keys = {}
    monkeypatch.setattr("workshop_utils.measure.shape_twin.build_skeleton", lambda *_a, **_k: untied)
    with pytest.raises(WorkshopError, match=r"holds .* bytes of weights and its config counts"):
        build_twin("smollm2-135m", layers=1)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-3-4b", "gemma-4-26b-a4b", "qwen3-30b-a3b"])
def test_stages_cover_every_parameter_once_and_in_order(name: str) -> None:
    model = build_skeleton(name)
    devices = ["cuda:0", "cuda:1", "cuda:2"]
    stages = stage_map(model, devices)
    for key, _ in model.named_parameters(remove_duplicate=False):
        assert sum(key.startswith(f"{stage}.") for stage in stages) == 1, key
    layers = [device for stage, device in stages.items() if ".layers." in stage]
    assert layers == sorted(layers)
    assert set(layers) == set(devices)
    tied = model.config.get_text_config().tie_word_embeddings
    assert stages["lm_head"] == ("cuda:0" if tied else "cuda:2")
    assert next(device for stage, device in stages.items() if stage.endswith("embed_tokens")) == "cuda:0"


def test_layers_that_are_left_over_go_to_the_stages_before_the_last() -> None:
    assert split_evenly(62, 4) == [15, 16, 16, 15]
    assert split_evenly(32, 4) == [8, 8, 8, 8]
    assert split_evenly(7, 4) == [2, 2, 2, 1]


def test_more_stages_than_layers_is_one_sentence() -> None:
    with pytest.raises(WorkshopError, match="2 layers cannot be split over 3 devices"):
        stage_map(build_skeleton("smollm2-135m", layers=2), ["a", "b", "c"])


def test_beside_names_what_stands_next_to_the_layers() -> None:
    model = build_skeleton("gemma-3-4b", layers=6)
    assert isinstance(model, transformers.PreTrainedModel)
    assert set(beside(model, "model.language_model.layers")) == {
        "lm_head", "model.vision_tower", "model.multi_modal_projector", "model.language_model.embed_tokens",
        "model.language_model.norm", "model.language_model.rotary_emb",
    }  # fmt: skip
