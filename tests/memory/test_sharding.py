"""What each rank holds: by hand, as a sum, and the layouts that cannot be."""

from dataclasses import replace

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.memory.sharding import shards, stage_layers, whole_model
from workshop_utils.memory.weights import weight_terms
from workshop_utils.models.architecture import Architecture, Attention, Layer, Piece
from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters


def by_part(architecture: Architecture, dtype: str, tensor_parallel: int, pipeline_parallel: int) -> dict:
    """Bytes of each part, summed over the ranks."""
    totals: dict[str, int] = {}
    for shard in shards(architecture, tensor_parallel, pipeline_parallel):
        for term in weight_terms(shard, dtype):
            part = term.name.removeprefix("weights: ").replace(" ", "_")
            totals[part] = totals.get(part, 0) + term.bytes
    return totals


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [
        (32, 1, (32,)),
        (32, 4, (8, 8, 8, 8)),
        (62, 4, (15, 16, 16, 15)),
        (30, 4, (7, 8, 8, 7)),
        (5, 3, (2, 2, 1)),
    ],
)
def test_what_remains_goes_to_the_stages_before_the_last(
    layers: int, stages: int, expected: tuple[int, ...]
) -> None:
    assert stage_layers(layers, stages) == expected


def test_one_gpu_holds_the_model_as_it_is() -> None:
    architecture = find_architecture("gemma-3-4b")
    (shard,) = shards(architecture)
    assert shard is whole_model(architecture)
    assert (shard.rank, shard.layers, shard.first_layer) == (0, architecture.layers, 0)
    # A tied head stands with its embedding, and the vocabulary is not padded.
    assert (shard.embedding_rows, shard.head_rows) == (262_208, 0)


def test_ranks_by_hand() -> None:
    # Llama 3.1 8B: 32 heads, 8 KV heads, width 14336, 32 layers; vocabulary 128256 = 64 × 2004.
    ranks = shards(find_architecture("llama-3.1-8b"), 4, 2)
    assert [shard.rank for shard in ranks] == list(range(8))
    assert [shard.stage for shard in ranks] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [shard.first_layer for shard in ranks] == [0] * 4 + [16] * 4
    layer = ranks[5].layers[0]
    assert isinstance(layer.attention, Attention)
    assert layer.mlp
    assert (layer.attention.heads, layer.attention.kv_heads, layer.mlp.width) == (8, 2, 3584)
    assert [shard.embedding_rows for shard in ranks] == [32_064] * 4 + [0] * 4
    assert [shard.head_rows for shard in ranks] == [0] * 4 + [32_064] * 4
    assert [shard.final_norm for shard in ranks] == [False] * 4 + [True] * 4


def test_a_tied_head_on_another_stage_is_a_copy() -> None:
    first, last = shards(find_architecture("gemma-3-27b"), 1, 2)
    assert (first.embedding_rows, first.head_rows) == (262_208, 0)
    assert (last.embedding_rows, last.head_rows) == (0, 262_208)
    assert first.vision
    assert not last.vision
    plain = by_part(find_architecture("gemma-3-27b"), "bfloat16", 1, 2)
    assert plain["head"] == plain["embedding"] == 2 * 262_208 * 5376


def test_kv_heads_are_copied_where_there_are_more_ranks() -> None:
    # Qwen3 30B A3B: 4 KV heads on 8 ranks, one each.
    ranks = shards(find_architecture("qwen3-30b-a3b"), 8)
    attention = ranks[7].layers[0].attention
    assert isinstance(attention, Attention)
    assert (attention.heads, attention.kv_heads) == (4, 1)
    whole = kv_cache_bytes(find_architecture("qwen3-30b-a3b"), 1000, 1, "bfloat16")
    assert sum(kv_cache_bytes(shard, 1000, 1, "bfloat16") for shard in ranks) == 2 * whole


def test_a_latent_is_cached_whole_on_every_tensor_rank() -> None:
    architecture = find_architecture("deepseek-v3")
    whole = kv_cache_bytes(architecture, 1000, 1, "bfloat16")
    assert {kv_cache_bytes(shard, 1000, 1, "bfloat16") for shard in shards(architecture, 8)} == {whole}


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-27b", "qwen3-30b-a3b", "gpt-oss-20b"])
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_tensor_ranks_hold_the_model_and_what_is_replicated(model: str, ranks: int) -> None:
    architecture = find_architecture(model)
    mixer = architecture.layers[0].attention
    assert isinstance(mixer, Attention)
    # A KV head for each rank where there are fewer; the bias of an output stands on every rank.
    copied = replace(
        architecture,
        layers=tuple(
            replace(layer, attention=replace(layer.attention, kv_heads=max(ranks, layer.attention.kv_heads)))
            for layer in architecture.layers
        ),
    )
    counts = dict(count_parameters(copied).by_part)
    biases = sum(architecture.hidden_size for layer in architecture.layers if layer.attention.output_bias)
    counts["attention"] += (ranks - 1) * biases
    padded = -(-architecture.vocabulary_size // 64) * 64 * architecture.hidden_size
    counts |= {part: padded for part in ("embedding", "head") if part in counts}
    counts |= {part: ranks * counts[part] for part in ("norms", "router", "vision") if part in counts}
    if experts := architecture.layers[0].experts:
        # Of an expert's biases, that of its output stands on every rank.
        whole = len(architecture.layers) * experts.routed * architecture.hidden_size
        counts["experts"] += (ranks - 1) * whole if experts.bias else 0
    assert by_part(architecture, "bfloat16", ranks, 1) == {part: 2 * count for part, count in counts.items()}


@pytest.mark.parametrize("model", catalogue_names())
@pytest.mark.parametrize("stages", [2, 3])
@pytest.mark.parametrize("dtype", ["bfloat16", "nf4", "gptq-int4-g128", "Q4_K_M"])
def test_stages_hold_the_model_once_and_a_copy_of_a_tied_head(model: str, stages: int, dtype: str) -> None:
    architecture = find_architecture(model)
    whole, cut = by_part(architecture, dtype, 1, 1), by_part(architecture, dtype, 1, stages)
    if architecture.tied_embeddings:
        assert cut.pop("head") == whole["embedding"] - architecture.position_values * (
            4 if dtype == "Q4_K_M" else 2
        )
    assert cut == whole
    tokens = {
        kv_cache_bytes(holder, 5000, 2, "bfloat16") for holder in (architecture, whole_model(architecture))
    }
    assert tokens == {
        sum(kv_cache_bytes(shard, 5000, 2, "bfloat16") for shard in shards(architecture, 1, stages))
    }


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (
            (3, 1),
            r"tensor parallel size 3 does not fit the 32 attention heads of llama-3.1-8b; choose 1, 2, 4, 8",
        ),
        ((1, 33), r"pipeline parallel size 33 is more than the 32 layers of llama-3.1-8b; choose 1 to 32"),
        ((0, 1), r"tensor parallel size 0 is no whole number from 1 on"),
        ((1, -2), r"pipeline parallel size -2 is no whole number from 1 on"),
        ((True, 1), r"tensor parallel size True is no whole number"),
        ((2.0, 1), r"tensor parallel size 2.0 is no whole number"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_the_choices(layout: tuple[int, int], message: str) -> None:
    shards.cache_clear()  # 2.0 and True are the same keys as 2 and 1
    with pytest.raises(WorkshopError, match=message):
        shards(find_architecture("llama-3.1-8b"), *layout)


def test_kv_heads_that_neither_divide_nor_are_divided_are_refused() -> None:
    with pytest.raises(WorkshopError, match=r"size 4 does not fit the 10 KV heads of phi-4; choose 1, 2\."):
        shards(find_architecture("phi-4"), 4)


COUNTED = Architecture(
    name="built", model_type="unknown", hidden_size=8, vocabulary_size=32, tied_embeddings=False,
    layers=(
        Layer(Attention(2, 2, 4), counted=(Piece("attention", 256, 3), Piece("norms", others=8))),
    ) * 4,
    counted=(Piece("embedding", others=256), Piece("norms", others=8), Piece("head", others=256)),
)  # fmt: skip


def test_a_model_that_was_counted_as_built_is_cut_by_layers_only() -> None:
    assert by_part(COUNTED, "bfloat16", 1, 2) == by_part(COUNTED, "bfloat16", 1, 1) == {
        "embedding": 512, "attention": 2 * 4 * 259, "norms": 2 * 5 * 8, "head": 512,
    }  # fmt: skip
    first, last = shards(COUNTED, 1, 2)
    assert [piece.part for piece in first.outside] == ["embedding"]
    assert [piece.part for piece in last.outside] == ["norms", "head"]
    (attention,) = (
        term for term in weight_terms(whole_model(COUNTED), "gptq-int4-g128") if "att" in term.name
    )
    assert attention.certainty == "assumed"
    with pytest.raises(WorkshopError, match="which were counted whole on a built model, of built; choose 1"):
        shards(COUNTED, 2)
