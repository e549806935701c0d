"""The decode kernels of a mixture of experts, in Triton's interpreter."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_config

from tests.parallel.kernels.references import TOLERANCE, gated, relative_error, rms_norm
from workshop_utils.parallel.decoder import Decoder
from workshop_utils.parallel.experts import mixture, routed
from workshop_utils.parallel.kernels.expert_matvec import gated_experts, summed_blocks, summed_experts
from workshop_utils.parallel.kernels.matvec import COLUMNS_A_WARP, Blocks, matvec
from workshop_utils.parallel.kernels.router import route
from workshop_utils.parallel.layer_weights import LayerWeights
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.plain import load_plain
from workshop_utils.parallel.spec import DecoderSpec, read_spec
from workshop_utils.parallel.weights import TwinWeights

FAMILIES = ["qwen3_moe", "mixtral"]
# Larger than the hardware would like: in the interpreter, time is the number of programs.
BLOCKS = Blocks(rows=16, step=128, warps=1)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def decoder_of(folder: Path, family: str, dtype: Any = torch.float32) -> Decoder:
    spec = read_spec(str(write_config(folder, family)), layers=1)
    weights = TwinWeights("cpu", dtype, spec.norm_offset)
    return load_decoder(spec, weights, room=4, device="cpu", dtype=dtype)


def on_the_device(x: torch.Tensor, weights: LayerWeights, spec: DecoderSpec) -> torch.Tensor:
    """What a step computes: no number of an expert reaches the host."""
    assert spec.experts
    numbers, shares = route(matvec(x, weights.router), spec.experts.active, spec.experts.normalised)
    inside = gated_experts(x, weights.gate_up, numbers, shares, activation=spec.activation, blocks=BLOCKS)
    return summed_experts(inside, weights.down, numbers, blocks=BLOCKS)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(("batch", "count", "active"), [(1, 128, 8), (3, 6, 2), (2, 8, 3), (1, 5, 5)])
def test_a_router_gives_the_largest_chances(batch: int, count: int, active: int, normalised: bool) -> None:
    logits = drawn(batch, count)
    numbers, shares = route(logits, active, normalised)
    expected, experts = logits.softmax(-1).topk(active)
    assert numbers.tolist() == experts.tolist()
    assert relative_error(shares, expected / (expected.sum(-1, True) if normalised else 1)) < TOLERANCE


def test_equal_chances_give_different_experts_and_not_a_number_gives_one_that_there_is() -> None:
    numbers, shares = route(torch.zeros(1, 6), 4, True)
    assert numbers.tolist() == [[0, 1, 2, 3]] and shares.tolist() == [[0.25] * 4]
    numbers, _ = route(torch.full((2, 6), torch.nan), 2, True)
    assert numbers.min() >= 0 and numbers.max() < 6


@pytest.mark.parametrize("blocks", [None, BLOCKS], ids=["the default", "many turns"])
@pytest.mark.parametrize("activation", ["silu", "gelu_tanh"])
# Multiples of neither rows nor step, and of both; one choice and several; the last expert of all.
@pytest.mark.parametrize(("batch", "active", "pairs", "columns"), [(1, 1, 37, 300), (2, 3, 16, 256)])
def test_each_pick_is_its_own_experts(
    batch: int, active: int, pairs: int, columns: int, activation: Any, blocks: Blocks | None
) -> None:
    x, norm = drawn(batch, columns), drawn(columns, seed=1)
    gate_up, down = drawn(5, 2 * pairs, columns, seed=2) / 8, drawn(5, columns, pairs, seed=3)
    numbers = (torch.arange(batch * active).view(batch, active) * 3 + 4).int() % 5
    shares, residual = torch.rand(batch, active), drawn(batch, columns, seed=4)
    normed = rms_norm(x, norm, 1e-3, 1.0)
    inside = gated(torch.einsum("bk,bank->ban", normed, gate_up[numbers.long()]), activation)
    inside *= shares[..., None]
    expected = residual + torch.einsum("bak,bank->bn", inside, down[numbers.long()])
    found = gated_experts(
        x, gate_up, numbers, shares, activation=activation, norm=norm, eps=1e-3, norm_offset=1.0,
        blocks=blocks,
    )  # fmt: skip
    assert relative_error(found, inside) < TOLERANCE
    assert relative_error(summed_experts(found, down, numbers, residual, blocks), expected) < TOLERANCE


# bfloat16 has 8 bits, and two products and an activation stand between the two results.
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, TOLERANCE), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("batch", [1, 2, 3, 4])
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_the_kernels_are_the_mixture_and_transformers_own_module(
    family: str, batch: int, dtype: torch.dtype, error: float, tmp_path: Path
) -> None:
    decoder = decoder_of(tmp_path, family, dtype)
    spec, weights = decoder.spec, decoder.layers[0]
    module = load_plain(spec, twin=True, device="cpu", dtype=dtype).get_decoder().layers[0].mlp
    x = drawn(batch, spec.hidden, seed=batch).to(dtype)
    theirs = module(x[:, None])
    theirs = (theirs[0] if isinstance(theirs, tuple) else theirs)[:, 0].float()
    found = on_the_device(x, weights, spec)
    assert found.dtype == dtype
    assert len({tuple(row) for row in routed(x, weights, spec)[0].tolist()}) >= min(batch, 2)
    assert relative_error(found.float(), mixture(x[:, None], weights, spec)[:, 0].float()) < error
    assert relative_error(found.float(), theirs) < error


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_the_ranks_shares_of_the_channels_sum_to_the_whole(family: str, ranks: int, tmp_path: Path) -> None:
    decoder = decoder_of(tmp_path, family)
    spec, weights = decoder.spec, decoder.layers[0]
    x = drawn(2, spec.hidden)
    numbers, shares = route(matvec(x, weights.router), spec.experts.active, spec.experts.normalised)
    halves, total = weights.gate_up.chunk(2, dim=1), x.clone()
    for rank in range(ranks):
        gate_up = torch.cat([half.chunk(ranks, dim=1)[rank] for half in halves], dim=1)
        down = weights.down.chunk(ranks, dim=2)[rank].contiguous()
        inside = gated_experts(x, gate_up, numbers, shares, blocks=BLOCKS)
        total = summed_experts(inside, down, numbers, residual=total, blocks=BLOCKS)
    assert relative_error(total - x, mixture(x, weights, spec)) < TOLERANCE


def test_every_width_of_an_expert_has_blocks_that_the_hardware_takes() -> None:
    for columns in (24, 96, 384, 768, 1536, 14336):
        blocks = summed_blocks(2048, columns)
        assert all(n & (n - 1) == 0 for n in (blocks.rows, blocks.step, blocks.warps))
        assert blocks.step == COLUMNS_A_WARP * blocks.warps


def test_shapes_that_do_not_fit_are_refused() -> None:
    numbers, shares = torch.zeros(1, 2, dtype=torch.int32), torch.ones(1, 2)
    with pytest.raises(ValueError, match="do not fit"):
        gated_experts(torch.zeros(1, 64), torch.zeros(4, 8, 32), numbers, shares)
    with pytest.raises(ValueError, match="do not fit"):
        summed_experts(torch.zeros(1, 2, 64), torch.zeros(4, 64, 8).transpose(1, 2), numbers)
