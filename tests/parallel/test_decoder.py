"""Our decoder against the transformers class of the same model: one process, every family."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import FAMILIES, write_config

from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.generate import generate
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.plain import load_plain
from workshop_utils.parallel.runner import Runner, runner_for
from workshop_utils.parallel.spec import read_spec
from workshop_utils.parallel.tricks import ALL_TRICKS
from workshop_utils.parallel.weights import CheckpointWeights, TwinWeights

ROOM = 40
LOGITS = 1e-4


@cache
def prompts() -> torch.Tensor:
    return torch.randint(3, 130, (3, 20), generator=torch.Generator().manual_seed(0))


def decoder_of(folder: Path, dtype: Any = torch.float32) -> Decoder:
    spec = read_spec(str(folder))
    weights = TwinWeights("cpu", dtype, spec.norm_offset)
    return load_decoder(spec, weights, room=ROOM, device="cpu", dtype=dtype)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_logits_of_prefill_and_decode_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    folder = write_config(tmp_path, family)
    decoder = decoder_of(folder)
    model = load_plain(decoder.spec, twin=True, device="cpu", dtype=torch.float32)
    ids = prompts()
    cache = decoder.new_cache(len(ids), ROOM)
    ours = [decoder.prefill(ids[:, :12], cache, torch.full((3,), 12))]
    ours += [decoder.step(ids[:, n : n + 1], cache) for n in range(12, 20)]
    theirs = model(ids).logits[:, 11:]
    assert theirs.abs().max() > 0.01  # a model that says something
    assert (torch.stack(ours, 1) - theirs).abs().max() <= LOGITS


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "qwen3_moe"])
@torch.inference_mode()
def test_prompts_of_unequal_length_do_not_see_one_another(family: str, tmp_path: Path) -> None:
    decoder = decoder_of(write_config(tmp_path, family))
    ids, lengths = prompts(), torch.tensor([12, 5, 9])
    together = decoder.new_cache(3, ROOM)
    logits = [decoder.prefill(ids[:, :12], together, lengths), decoder.step(ids[:, -1:], together)]
    for row, length in enumerate(lengths.tolist()):
        alone = decoder.new_cache(1, ROOM)
        one = ids[row : row + 1]
        expected = [
            decoder.prefill(one[:, :length], alone, lengths[row : row + 1]),
            decoder.step(one[:, -1:], alone),
        ]
        for got, want in zip(logits, expected, strict=True):
            assert (got[row] - want[0]).abs().max() <= LOGITS


@torch.inference_mode()
def test_a_cache_that_grows_with_each_token_gives_the_same_tokens(tmp_path: Path) -> None:
    decoder = decoder_of(write_config(tmp_path, "llama"))
    rows = [row[:length].tolist() for row, length in zip(prompts(), (12, 5, 9), strict=True)]
    made: list[Runner] = []

    def growing(*arguments: Any) -> Runner:
        made.append(runner_for(decoder, ALL_TRICKS.without(("static_cache",)))(*arguments))
        assert made[-1].cache.room == 12
        return made[-1]

    assert generate(decoder, rows, 6, runner=growing).tokens == generate(decoder, rows, 6).tokens
    # Of six new tokens the last one is never fed back.
    assert made[0].cache.room == made[0].cache.keys[0].shape[2] == 12 + 5


def test_a_step_leaves_the_embedding_and_the_experts_that_nobody_chooses(tmp_path: Path) -> None:
    dense, tied, mixed = (decoder_of(write_config(tmp_path, f)) for f in ("llama", "smollm2", "qwen3_moe"))
    assert (dense.unread_bytes(3), tied.unread_bytes(3)) == (130 * 48 * 4, 0)
    experts = 4 * 6 * 3 * 24 * 48 * 4  # layers, experts, matrices, their sizes, bytes
    # Each of two sequences leaves four of six experts.
    assert mixed.unread_bytes(2) == 130 * 48 * 4 + int((4 / 6) ** 2 * experts)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_a_saved_checkpoint_is_read_as_transformers_reads_it(family: str, tmp_path: Path) -> None:
    folder = write_config(tmp_path, family)
    spec = read_spec(str(folder))
    model = load_plain(spec, twin=True, device="cpu", dtype=torch.float32)
    model.save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    weights = CheckpointWeights(folder, "cpu", torch.float32)
    decoder = load_decoder(read_spec(str(folder)), weights, room=ROOM, device="cpu", dtype=torch.float32)
    ids = prompts()
    got = decoder.prefill(ids, decoder.new_cache(3, ROOM), torch.full((3,), 20))
    assert (got - model(ids).logits[:, -1]).abs().max() <= LOGITS
