"""The fast decode step against the plain one of the same decoder; the kernels run in Triton's interpreter."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import write_config

from workshop_utils.parallel.fast_prefill import fast_prefill
from workshop_utils.parallel.fast_step import FastStep
from workshop_utils.parallel.graph_runner import GraphRunner
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.runner import Runner, runner_for
from workshop_utils.parallel.spec import ExpertsSpec, read_spec
from workshop_utils.parallel.tricks import ALL_TRICKS
from workshop_utils.parallel.weights import TwinWeights

ROOM, PROMPT, STEPS = 16, 9, 1


# 9 sequences are more than the kernels' matrix-vector products take. Gemma's third layer has no window.
@pytest.mark.parametrize(
    ("family", "batch", "layers"),
    [
        ("llama", 1, 2), ("qwen2", 3, 1), ("qwen3", 9, 1), ("gemma3_text", 2, 3), ("qwen3_moe", 1, 2),
        ("qwen3_moe", 9, 1), ("mixtral", 4, 1),
    ],
)  # fmt: skip
@torch.inference_mode()
def test_a_fast_step_gives_the_logits_of_a_plain_one(
    family: str, batch: int, layers: int, tmp_path: Path
) -> None:
    spec = read_spec(str(write_config(tmp_path, family)), layers=layers)
    weights = TwinWeights("cpu", torch.float32, spec.norm_offset)
    decoder = load_decoder(spec, weights, room=ROOM, device="cpu", dtype=torch.float32)
    ids = torch.randint(3, 130, (batch, PROMPT + STEPS), generator=torch.Generator().manual_seed(0))
    lengths = torch.arange(batch) % 4 + PROMPT - 3
    plain, fast = (decoder.new_cache(batch, ROOM) for _ in range(2))
    for cache in (plain, fast):
        decoder.prefill(ids[:, :PROMPT], cache, lengths)
    step = FastStep(decoder, fast)
    for number in range(PROMPT, PROMPT + STEPS):
        one = ids[:, number : number + 1]
        expected, got = decoder.step(one, plain), step(one)
        assert (got - expected).norm() / expected.norm() <= 1e-4
    assert fast.lengths.tolist() == plain.lengths.tolist() == (lengths + STEPS).tolist()


@pytest.mark.parametrize("experts", [None, ExpertsSpec(8, 2, True)], ids=["dense", "experts"])
def test_on_a_gpu_a_step_is_a_graph_unless_it_asks_the_host_which_experts(
    experts: ExpertsSpec | None,
) -> None:
    decoder = SimpleNamespace(device="cuda:0", spec=SimpleNamespace(experts=experts))
    torchs = ALL_TRICKS.without(("kernels",))
    assert runner_for(decoder).func is GraphRunner
    assert runner_for(decoder, torchs).func is (Runner if experts else GraphRunner)
    for needed in ("graph", "static_cache"):
        assert runner_for(decoder, ALL_TRICKS.without((needed,))).func is Runner


@pytest.mark.parametrize(("family", "layers"), [("llama", 1), ("gemma3_text", 3), ("mixtral", 1)])
@torch.inference_mode()
def test_a_fast_prefill_leaves_the_logits_and_the_cache_of_a_plain_one(
    family: str, layers: int, tmp_path: Path
) -> None:
    spec = read_spec(str(write_config(tmp_path, family)), layers=layers)
    weights = TwinWeights("cpu", torch.float32, spec.norm_offset)
    decoder = load_decoder(spec, weights, room=ROOM, device="cpu", dtype=torch.float32)
    ids = torch.randint(3, 130, (2, PROMPT), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([PROMPT, 4])
    plain, fast = (decoder.new_cache(2, ROOM) for _ in range(2))
    expected = decoder.prefill(ids, plain, lengths)
    got = fast_prefill(decoder, ids, fast, lengths)
    assert (got - expected).norm() / expected.norm() <= 1e-4
    assert (fast.lengths.tolist(), fast.longest) == (plain.lengths.tolist(), plain.longest)
    for one, other in zip(fast.keys + fast.values, plain.keys + plain.values, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
