"""Models without a family file: built by transformers on the meta device, counted to the digit."""

import json
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.built import read_with_transformers
from workshop_utils.models.catalogue import CONFIGS, catalogue_names
from workshop_utils.models.config import Config
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.models.reading import read_architecture, supported_model_types


def read(**fields: Any) -> Architecture:
    return read_architecture(Config(fields, "model", "config.json"))


# Real shapes with the totals that their model cards or checkpoints state, and values cached for each token.
REAL: dict[str, tuple[dict[str, Any], int, int]] = {
    "GPT-2": ({"model_type": "gpt2"}, 124_439_808, 12 * 2 * 768),
    "Falcon 7B": (
        {"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71,
         "multi_query": True, "new_decoder_architecture": False, "vocab_size": 65024, "bias": False,
         "parallel_attn": True, "alibi": False},
        6_921_720_704, 32 * 2 * 64,
    ),
    "OPT 6.7B": (
        {"model_type": "opt", "hidden_size": 4096, "ffn_dim": 16384, "num_hidden_layers": 32,
         "num_attention_heads": 32, "word_embed_proj_dim": 4096, "vocab_size": 50272},
        6_658_473_984, 32 * 2 * 4096,
    ),
    "Phi-2": (
        {"model_type": "phi", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32,
         "num_attention_heads": 32, "vocab_size": 51200},
        2_779_683_840, 32 * 2 * 2560,
    ),
    "StarCoder2 3B": (
        {"model_type": "starcoder2", "hidden_size": 3072, "intermediate_size": 12288, "num_hidden_layers": 30,
         "num_attention_heads": 24, "num_key_value_heads": 2, "vocab_size": 49152, "use_bias": True},
        3_030_371_328, 30 * 2 * 256,
    ),
    "Qwen1.5 MoE A2.7B": (
        {"model_type": "qwen2_moe", "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
         "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 151936, "num_experts": 60,
         "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632},
        14_315_784_192, 24 * 2 * 2048,
    ),
    "BART large": ({"model_type": "bart", "vocab_size": 50265}, 406_291_456, 12 * 2 * 1024),
    "LLaVA 1.5 7B": (
        {"model_type": "llava",
         "text_config": {"model_type": "llama", "vocab_size": 32064},
         "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
                           "image_size": 336, "patch_size": 14, "num_hidden_layers": 24,
                           "num_attention_heads": 16, "projection_dim": 768, "vocab_size": 32000}},
        7_063_427_072, 32 * 2 * 4096,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_a_real_model_has_its_published_parameters_and_cache(name: str) -> None:
    fields, parameters, cached = REAL[name]
    assert fields["model_type"] not in supported_model_types()
    architecture = read(**fields)
    assert count_parameters(architecture).total == parameters
    assert sum(layer.attention.cached_values for layer in architecture.layers) == cached


def test_parts_of_a_model_without_a_family_file() -> None:
    counts = count_parameters(read(**REAL["Qwen1.5 MoE A2.7B"][0]))
    hidden, layers = 2048, 24
    assert counts.by_part == {
        "embedding": 151_936 * hidden,
        "attention": layers * (4 * hidden * hidden + 3 * hidden),
        "experts": layers * 60 * 3 * hidden * 1408,
        "shared_experts": layers * 3 * hidden * 5632,
        "router": layers * (60 * hidden + hidden),
        "norms": (2 * layers + 1) * hidden,
        "head": 151_936 * hidden,
    }
    assert counts.active == counts.total - layers * 56 * 3 * hidden * 1408
    assert counts.quantizable["attention"] == layers * 4 * hidden * hidden


@pytest.mark.parametrize("name", REAL)
def test_a_real_model_is_estimated_with_every_attention_and_layout(name: str) -> None:
    architecture = read(**REAL[name][0])
    parameters = REAL[name][1]
    for options in (
        {},
        {"attention": "eager"},
        {"cache": "static"},
        {"dtype": "nf4"},
        {"engine": "accelerate"},
    ):
        result = estimate(architecture, tokens=1024, **options)
        assert result.per_gpu[0].bytes_of("activations") > 0
        assert "was not read" in result.notes[0]
        assert {term.certainty for term in result.fullest.needed if term.kind == "activations"} <= {
            "assumed", "exact",
        }  # fmt: skip
    assert estimate(architecture, tokens=1024).weights_bytes == 2 * parameters
    first, last = estimate(architecture, tokens=1024, pipeline_parallel=2).per_gpu
    assert first.bytes_of("weights") + last.bytes_of("weights") == 2 * parameters


@pytest.mark.parametrize(
    "name", ["llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v2-lite", "gemma-3-4b", "olmo-2-7b"]
)
def test_the_widths_of_a_built_model_give_the_activations_of_its_family_file(name: str) -> None:
    config = Config(
        json.loads(Path(CONFIGS, f"{name}.json").read_text(encoding="utf-8")), name, "config.json"
    )
    family, built = read_architecture(config), read_with_transformers(config, ())
    ours, theirs = (estimate(each, tokens=8192).per_gpu[0] for each in (family, built))
    assert theirs.peak_bytes == pytest.approx(ours.peak_bytes, rel=0.01)
    for one, other in zip(built.layers, family.layers, strict=True):
        assert (one.mlp and one.mlp.width) == (other.mlp and other.mlp.width)
        assert (one.experts and one.experts.width) == (other.experts and other.experts.width)


TINY = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"model_type": "cohere2", "sliding_window": 8, "num_key_value_heads": 2}, {"sliding": 3, "full": 1}),
        ({"model_type": "stablelm", "intermediate_size": 48, "num_key_value_heads": 4}, {"full": 4}),
        ({"model_type": "mamba", "num_hidden_layers": 3}, {"recurrent": 3}),
        (
            {"model_type": "jamba", "num_key_value_heads": 2, "num_experts": 2, "attn_layer_period": 4,
             "attn_layer_offset": 2, "mamba_dt_rank": 2},
            {"recurrent": 3, "full": 1},
        ),
        ({"model_type": "glm_moe_dsa", "kv_lora_rank": 16, "num_key_value_heads": 4}, {"latent": 4}),
    ],
)  # fmt: skip
def test_a_tiny_model_of_each_kind_of_cache(fields: dict[str, Any], kinds: dict[str, int]) -> None:
    architecture = read(**TINY | fields)
    assert architecture.layer_kinds == kinds
    assert all(layer.counted for layer in architecture.layers)
    assert count_parameters(architecture).by_part.get("other", 0) == 0
    assert estimate(architecture, tokens=64).peak_bytes > 2 * count_parameters(architecture).total


def test_what_a_decoder_takes_from_an_encoder_is_cached_too() -> None:
    architecture = read(**REAL["BART large"][0])
    assert len(architecture.encoder) == 12
    crossing = [layer.cross_attention for layer in architecture.layers]
    assert [mixer.cached_values if mixer else 0 for mixer in crossing] == [2 * 1024] * 12


@pytest.mark.parametrize("name", catalogue_names())
def test_the_built_model_and_the_family_file_agree_in_every_part_and_cache(name: str) -> None:
    fields = json.loads(Path(CONFIGS, f"{name}.json").read_text(encoding="utf-8"))
    # T5 always ties what it builds; the parts of what Flan-T5 loads are test_meta_device's.
    fields |= {"tie_word_embeddings": True} if fields["model_type"] == "t5" else {}
    config = Config(fields, name, "config.json")
    family, built = read_architecture(config), read_with_transformers(config, ())
    ours, theirs = count_parameters(family), count_parameters(built)
    assert theirs.by_part == ours.by_part
    assert theirs.active == ours.active
    assert theirs.quantizable == ours.quantizable
    assert [caches(layer.attention) for layer in built.layers] == [
        caches(layer.attention) for layer in family.layers
    ]
    assert (built.tied_embeddings, built.vocabulary_size) == (family.tied_embeddings, family.vocabulary_size)


def caches(mixer: Any) -> tuple[int, int, int | None]:
    return mixer.cached_values, mixer.state_values, mixer.window


BAD = {
    "negative layers": ({"n_layer": -3}, "n_layer -3"),
    "layers as text": ({"n_layer": "12"}, "n_layer"),
    "too many layers": ({"n_layer": 10**6}, "n_layer 1000000"),
    "no layers": ({"n_layer": 0}, "no stack of layers"),
    "not a number": ({"n_embd": float("nan")}, "n_embd"),
    "infinite": ({"n_inner": float("inf")}, "n_inner"),
    "far too long": ({"n_positions": 10**12}, "n_positions 1000000000000"),
    "widths that do not fit": ({"n_embd": 770}, "divisible"),
    "no heads": ({"n_head": 0}, "cannot be built"),
    "nested": ({"a": json.loads('{"a":' * 30 + "{}" + "}" * 30)}, "nested"),
    "no language model": ({"model_type": "vit"}, "choose a model that generates text"),
    "a cache of its own": ({"model_type": "rwkv", **TINY}, "is not known"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_built_is_one_sentence(case: str) -> None:
    fields, words = BAD[case]
    with pytest.raises(WorkshopError) as caught:
        read(**{"model_type": "gpt2"} | fields)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert message.endswith(".")


@pytest.mark.parametrize(
    "changes", [{"auto_map": {"AutoConfig": "evil.Config"}}, {"architectures": ["pipeline", "no_such_class"]}]
)
def test_names_of_code_in_a_config_are_not_followed(changes: dict[str, Any]) -> None:
    assert count_parameters(read(model_type="gpt2", **changes)).total == 124_439_808


def test_an_unknown_type_names_the_fields_that_its_file_lacks() -> None:
    with pytest.raises(WorkshopError, match="add num_attention_heads, vocab_size, which it lacks"):
        read(model_type="foo", hidden_size=8, intermediate_size=8, num_hidden_layers=2)


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(WorkshopError, match="takes torch and transformers to read; install both"):
        read(model_type="gpt2")


def test_a_file_of_such_a_type_is_found(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "dtype": "float32"}', encoding="utf-8")
    architecture = find_architecture(str(tmp_path))
    assert (architecture.model_type, architecture.dtype) == ("gpt2", "float32")
