"""The fast decode step against the plain one of the same decoder; the kernels run in Triton's interpreter."""

from pathlib import Path

import pytest
import torch
from tiny import write_config

from workshop_utils.parallel.fast_step import FastStep
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.spec import read_spec
from workshop_utils.parallel.weights import TwinWeights

ROOM, PROMPT, STEPS = 16, 9, 1


# 9 sequences are more than the kernels' matrix-vector products take. Gemma's third layer has no window.
@pytest.mark.parametrize(
    ("family", "batch", "layers"), [("llama", 1, 2), ("qwen2", 3, 1), ("qwen3", 9, 1), ("gemma3_text", 2, 3)]
)
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
