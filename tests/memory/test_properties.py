"""What holds for every model, precision, length, batch and layout, on examples that hypothesis chooses."""

import json
from itertools import pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.memory.kv_cache import kv_cache_bytes, kv_cache_terms
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS
from workshop_utils.memory.sharding import Shard, shards
from workshop_utils.memory.weights import weight_terms
from workshop_utils.models.architecture import Architecture, LatentAttention
from workshop_utils.models.catalogue import catalogue_names
from workshop_utils.models.find import find_architecture

EXAMPLES = settings(max_examples=150, deadline=None, derandomize=True, database=None)
models = st.sampled_from(catalogue_names()).map(find_architecture)
lengths = st.integers(1, 2_000_000)
batches = st.integers(1, 100_000)
sizes = st.sampled_from((1, 2, 3, 4, 8))
kv_dtypes = st.sampled_from(tuple(KV_BITS))
# Formats of one library, from fewer bits to more: two libraries keep different things beside the values.
WEIGHTS_IN_ORDER = (
    ("nf4-dq", "nf4", "int8", "bfloat16", "float32"),
    ("awq-int4-g128", "awq-int4-g64", "awq-int4-g32", "bfloat16"),
    ("gptq-int4-g128", "gptq-int4-g64", "gptq-int4-g32", "gptq-int8-g128"),
    ("fp8-tensor", "fp8-channel", "bfloat16"),
    ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "float32"),
)
CACHES_IN_ORDER = (("int4", "int8", "bfloat16", "float32"), ("fp8", "float16", "float32"))


def total(shard: Shard, dtype: str) -> int:
    return sum(term.bytes for term in weight_terms(shard, dtype))


def layout(architecture: Architecture, tensor_parallel: int, pipeline_parallel: int) -> tuple[Shard, ...]:
    """The shards; an example that the model cannot have is another example."""
    try:
        return shards(architecture, tensor_parallel, pipeline_parallel)
    except WorkshopError:
        assume(False)
        raise


@EXAMPLES
@given(models, lengths, lengths, batches, batches, kv_dtypes)
def test_more_tokens_or_sequences_never_need_less(
    model: Architecture, first: int, second: int, few: int, many: int, kv_dtype: str
) -> None:
    (short, long), (few, many) = sorted((first, second)), sorted((few, many))
    assert 0 < kv_cache_bytes(model, short, few, kv_dtype) <= kv_cache_bytes(model, long, few, kv_dtype)
    assert kv_cache_bytes(model, short, few, kv_dtype) <= kv_cache_bytes(model, short, many, kv_dtype)


@EXAMPLES
@given(models, lengths, batches, st.sampled_from(CACHES_IN_ORDER))
def test_a_cache_of_more_bits_never_needs_less(
    model: Architecture, tokens: int, batch: int, order: tuple[str, ...]
) -> None:
    found = [kv_cache_bytes(model, tokens, batch, kv_dtype) for kv_dtype in order]
    assert found == sorted(found)


@EXAMPLES
@given(models, sizes, sizes, st.sampled_from(WEIGHTS_IN_ORDER))
def test_weights_of_more_bits_never_need_less(
    model: Architecture, tensor_parallel: int, pipeline_parallel: int, order: tuple[str, ...]
) -> None:
    for shard in layout(model, tensor_parallel, pipeline_parallel):
        found = [total(shard, dtype) for dtype in order]
        assert found == sorted(found)


@EXAMPLES
@given(models, sizes, sizes, st.sampled_from(("bfloat16", "float32", "int8", "nf4", "fp8", "awq-int4-g128")))
def test_ranks_together_hold_the_whole_and_none_holds_more(
    model: Architecture, tensor_parallel: int, pipeline_parallel: int, dtype: str
) -> None:
    ranks = layout(model, tensor_parallel, pipeline_parallel)
    whole = total(shards(model)[0], dtype)
    held = [total(shard, dtype) for shard in ranks]
    assert len(ranks) == tensor_parallel * pipeline_parallel
    assert whole <= sum(held)
    # Rounding of groups, tables of matrices and padded rows of the vocabulary are all that can add up.
    assert max(held) <= 1.01 * whole
    # Ranks of one stage hold the same, and each but a copied head, latents and KV heads is a share.
    assert len({(shard.stage, size) for shard, size in zip(ranks, held, strict=True)}) == pipeline_parallel


@EXAMPLES
@given(models, sizes, sizes, st.integers(1, 200_000), st.integers(1, 64))
def test_ranks_together_cache_the_whole_and_more_only_where_heads_are_copied(
    model: Architecture, tensor_parallel: int, pipeline_parallel: int, tokens: int, batch: int
) -> None:
    ranks = layout(model, tensor_parallel, pipeline_parallel)
    whole = kv_cache_bytes(model, tokens, batch, "bfloat16")
    held = sum(kv_cache_bytes(shard, tokens, batch, "bfloat16") for shard in ranks)
    latent = any(isinstance(layer.attention, LatentAttention) for layer in model.layers)
    heads = [getattr(layer.attention, "kv_heads", tensor_parallel) for layer in model.layers]
    if latent:
        assert held == tensor_parallel * whole
    elif min(heads) >= tensor_parallel and not any(layer.attention.state_values for layer in model.layers):
        assert held == whole
    else:
        assert whole <= held <= tensor_parallel * whole


@EXAMPLES
@given(models, sizes, sizes, st.sampled_from(tuple(PRECISIONS)), lengths, batches, kv_dtypes)
def test_every_term_is_finite_positive_and_explained(
    model: Architecture, tensor_parallel: int, pipeline_parallel: int, dtype: str, tokens: int, batch: int,
    kv_dtype: str,
) -> None:  # fmt: skip
    for shard in layout(model, tensor_parallel, pipeline_parallel):
        try:
            terms = weight_terms(shard, dtype) + kv_cache_terms(shard, tokens, batch, kv_dtype)
        except WorkshopError as error:
            assert dtype == "mxfp4"
            assert "has none" in str(error)
            return
        for term in terms:
            assert isinstance(term.bytes, int)
            assert term.bytes > 0
            assert term.formula
            assert term.source


ESTIMATES = settings(EXAMPLES, max_examples=60)
prompts = st.integers(1, 200_000)
few = st.integers(1, 64)
attentions = st.sampled_from(("sdpa", "eager", "flash_attention_2"))
caches = st.sampled_from(("dynamic", "static"))


def estimated(model: Architecture, tokens: int, **options: object) -> Estimate:
    """The estimate; an example that the model cannot have is another example."""
    try:
        return estimate(model, tokens=tokens, **options)  # type: ignore[arg-type]
    except WorkshopError:
        assume(False)
        raise


def assert_never_less(smaller: Estimate, larger: Estimate) -> None:
    for less, more in zip(smaller.per_gpu, larger.per_gpu, strict=True):
        assert less.needed_bytes <= more.needed_bytes
        assert less.peak_bytes <= more.peak_bytes


@ESTIMATES
@given(models, prompts, prompts, few, attentions, caches, st.booleans())
def test_more_tokens_never_lower_the_peak(
    model: Architecture, first: int, second: int, batch: int, attention: str, cache: str, padded: bool
) -> None:
    options = {"batch": batch, "attention": attention, "cache": cache, "padded": padded}
    short, long = sorted((first, second))
    assert_never_less(estimated(model, short, **options), estimated(model, long, **options))


@ESTIMATES
@given(models, prompts, few, few, attentions, caches)
def test_more_sequences_never_lower_the_peak(
    model: Architecture, tokens: int, first: int, second: int, attention: str, cache: str
) -> None:
    options = {"attention": attention, "cache": cache}
    small, large = (estimated(model, tokens, batch=batch, **options) for batch in sorted((first, second)))
    assert_never_less(small, large)


@ESTIMATES
@given(models, st.integers(512, 200_000), few, st.sampled_from(CACHES_IN_ORDER))
def test_a_cache_of_more_bits_never_lowers_the_peak(
    model: Architecture, tokens: int, batch: int, order: tuple[str, ...]
) -> None:
    # Shorter texts gain nothing: 127 tokens stay in 16 bits, and one layer is unpacked beside them.
    found = [estimated(model, tokens, batch=batch, kv_dtype=kv_dtype) for kv_dtype in order]
    for smaller, larger in pairwise(found):
        assert_never_less(smaller, larger)


@ESTIMATES
@given(models, prompts, few, st.sampled_from((("nf4", "int8", "bfloat16"), ("fp8-tensor", "bfloat16"))))
def test_weights_of_more_bits_never_lower_the_peak(
    model: Architecture, tokens: int, batch: int, order: tuple[str, ...]
) -> None:
    options = {"batch": batch, "kv_dtype": "bfloat16"}
    found = [estimated(model, tokens, dtype=dtype, **options) for dtype in order]
    for smaller, larger in pairwise(found):
        assert_never_less(smaller, larger)


@ESTIMATES
@given(models, prompts, few, sizes, sizes, st.integers(2, 4))
def test_replicas_repeat_the_ranks_of_one_replica_with_its_share_of_the_batch(
    model: Architecture, tokens: int, batch: int, tensor_parallel: int, pipeline_parallel: int, replicas: int
) -> None:
    layout_of = {"tensor_parallel": tensor_parallel, "pipeline_parallel": pipeline_parallel}
    one = estimated(model, tokens, batch=batch, **layout_of)
    all_ranks = estimated(model, tokens, batch=batch * replicas, data_parallel=replicas, **layout_of).per_gpu
    assert [rank.rank for rank in all_ranks] == list(range(len(all_ranks)))
    assert [rank.needed for rank in all_ranks] == [rank.needed for rank in one.per_gpu] * replicas


@ESTIMATES
@given(models, prompts, few, sizes, sizes, attentions, caches)
def test_json_round_trips_and_its_sums_are_sums_of_its_terms(
    model: Architecture, tokens: int, batch: int, tensor_parallel: int, pipeline_parallel: int,
    attention: str, cache: str,
) -> None:  # fmt: skip
    result = estimated(
        model, tokens, batch=batch, tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel,
        attention=attention, cache=cache,
    ).as_json()  # fmt: skip
    assert json.loads(json.dumps(result)) == result
    for rank in result["per_gpu"]:  # type: ignore[attr-defined]
        peak = [term["bytes"] for term in rank["terms"] if term["kind"] not in {"reserve", "process"}]
        assert sum(peak) == rank["peak_bytes"]
        assert sum(term["bytes"] for term in rank["terms"]) == rank["process_bytes"]
        phases = [
            size for size in (rank["prefill_peak_bytes"], rank["decode_peak_bytes"]) if size is not None
        ]
        assert max(phases) == rank["peak_bytes"]
