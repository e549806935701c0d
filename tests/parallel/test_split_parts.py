"""The small parts of the strategies: layouts, stages, hand-split products, padded heads, tricks."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny import write_config

from workshop_utils.errors import WorkshopError
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.generate import generate, micro
from workshop_utils.parallel.layout import Layout, Place, check
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.padded_heads import PaddedHeads, with_kv_heads
from workshop_utils.parallel.pipeline import bubble, decode_speedup, stage_layers
from workshop_utils.parallel.plain import load_plain
from workshop_utils.parallel.sampling import pick
from workshop_utils.parallel.spec import read_spec
from workshop_utils.parallel.tensor import TensorGroup, bytes_sent
from workshop_utils.parallel.tricks import ALL_TRICKS
from workshop_utils.parallel.weights import CheckpointWeights, TwinWeights, Weights


def test_ranks_count_tensor_first_then_stages_then_replicas() -> None:
    layout = Layout(2, 3, 4)
    assert layout.ranks == 24
    assert layout.place(0) == Place(0, 0, 0, 0)
    assert layout.place(23) == Place(23, 1, 2, 3)
    for rank in range(24):
        place = layout.place(rank)
        assert layout.rank_of(place.data, place.stage, place.tensor) == rank


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (Layout(1, 1, 2), "choose 1, 3"),
        (Layout(1, 40, 1), "choose 1 to 30"),
        (Layout(4, 1, 3), "needs 12 GPUs and 8 are here"),
    ],
)
def test_layouts_that_cannot_be_are_refused_with_the_nearest(layout: Layout, message: str) -> None:
    with pytest.raises(WorkshopError, match=message):
        check(layout, find_architecture("smollm2-135m"), devices=8)


@pytest.mark.parametrize("size", [0, -1, True, 1.5])
def test_a_size_is_a_whole_number(size: int) -> None:
    with pytest.raises(WorkshopError, match="tensor parallel size"):
        Layout(1, 1, size)


def test_stages_read_as_equal_as_layers_allow() -> None:
    # A head as large as three layers: the last stage gets three layers less than half.
    assert stage_layers([10] * 9, 30, 2) == (range(6), range(6, 9))
    parts = stage_layers([3, 1, 4, 1, 5, 9, 2, 6], 4, 3)
    assert [n for part in parts for n in part] == list(range(8))
    sizes = [3, 1, 4, 1, 5, 9, 2, 6]
    fullest = max(sum(sizes[n] for n in p) + (4 if p.stop == 8 else 0) for p in parts)
    best = min(
        max(sum(sizes[:a]), sum(sizes[a:b]), sum(sizes[b:]) + 4) for a in range(1, 7) for b in range(a + 1, 8)
    )
    assert fullest == best
    with pytest.raises(WorkshopError, match="2 layers cannot make 3 stages"):
        stage_layers([1, 1], 0, 3)


def test_the_bubble_shrinks_with_micro_batches() -> None:
    assert bubble(1, 5) == 0
    assert bubble(2, 1) == 0.5  # one of two stages works at a time
    assert bubble(4, 12) == pytest.approx(3 / 15)
    assert [decode_speedup(2, count) for count in (1, 2, 8)] == [1, 2, 2]


def test_parts_of_matrices_make_the_whole() -> None:
    x, gate, up, down = (
        torch.randn(shape, dtype=torch.double) for shape in ((5, 8), (12, 8), (12, 8), (8, 12))
    )
    whole = (F.silu(x @ gate.T) * (x @ up.T)) @ down.T
    total = torch.zeros_like(whole)
    for rank in range(3):
        mine = TensorGroup(rank, 3).share(12)
        total += (F.silu(x @ gate[mine].T) * (x @ up[mine].T)) @ down[:, mine].T
    assert torch.allclose(total, whole, atol=1e-12)
    with pytest.raises(WorkshopError, match="12 heads cannot be shared by 5 ranks"):
        TensorGroup(0, 5).share(12, "heads")


def test_kv_heads_are_copied_where_ranks_are_more() -> None:
    assert [TensorGroup(rank, 4).kv_heads(8) for rank in (0, 3)] == [slice(0, 2), slice(6, 8)]
    assert [TensorGroup(rank, 4).kv_heads(2).start for rank in range(4)] == [0, 0, 1, 1]
    with pytest.raises(WorkshopError, match="3 KV heads cannot be copied evenly to 4 ranks"):
        TensorGroup(0, 4).kv_heads(3)


def test_the_last_rank_has_what_is_left_of_the_vocabulary() -> None:
    rows = [TensorGroup(rank, 4).vocabulary(130) for rank in range(4)]
    assert [(part.start, part.stop) for part in rows] == [(0, 33), (33, 66), (66, 99), (99, 130)]


def test_padding_rows_of_the_head_are_never_chosen() -> None:
    logits = torch.full((2, 8), -1.0)
    logits[:, 6] = 5.0  # beyond a vocabulary of 6
    assert pick(logits, TensorGroup(), 6).tolist() == [0, 0]


def test_bytes_sent_are_those_of_two_rings_a_layer() -> None:
    # 32 layers × 2 all-reduces × 8 kB × 2 × 1/2: what Llama 3.1 8B sends for one token on each of two GPUs.
    assert bytes_sent(1, 4096, 32, 2, 2) == 32 * 2 * 8192
    assert bytes_sent(1, 4096, 32, 2, 2, embeddings=1) == (32 * 2 + 1) * 8192
    assert bytes_sent(1, 4096, 32, 2, 1) == 0


def test_micro_batches_are_equal_parts_in_order() -> None:
    prompts = [[number] for number in range(7)]
    assert [len(part) for part in micro(prompts, 3)] == [2, 2, 3]
    assert [row for part in micro(prompts, 3) for row in part] == prompts
    assert len(micro(prompts[:2], 5)) == 2


@pytest.mark.parametrize("family", ["smollm2", "qwen3"])
def test_heads_of_zeros_change_no_logit(family: str, tmp_path: Path) -> None:
    spec = read_spec(str(write_config(tmp_path, family)))
    weights = TwinWeights("cpu", torch.float32, spec.norm_offset)
    padded = with_kv_heads(spec, spec.kv_heads + 1)
    ids = [[5, 9, 17, 33], [8, 2, 77, 12]]
    made = [
        generate(
            load_decoder(one, source, room=16, device="cpu", dtype=torch.float32), ids, 6, keep_logits=True
        )
        for one, source in ((spec, weights), (padded, PaddedHeads(weights, spec)))
    ]
    assert made[0].tokens == made[1].tokens
    assert (made[0].logits - made[1].logits).abs().max() <= 1e-5


def test_fused_projections_and_fewer_heads_cannot_be_padded(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match="cannot be padded to 5"):
        with_kv_heads(read_spec(str(write_config(tmp_path, "phi3"))), 5)
    with pytest.raises(WorkshopError, match="cannot be padded to 2"):
        with_kv_heads(read_spec(str(write_config(tmp_path, "llama"))), 2)


def test_a_trick_can_be_left_out() -> None:
    assert not ALL_TRICKS.without(("graph",)).graph
    assert ALL_TRICKS.without(("graph",)).kernels
    with pytest.raises(WorkshopError, match="choices: graph, static_cache, kernels, fused, one_shot"):
        ALL_TRICKS.without(("luck",))


@pytest.mark.parametrize("source", ["twin", "checkpoint", "padded"])
@pytest.mark.parametrize("family", ["llama", "qwen3_moe", "mixtral", "smollm2"])
def test_every_rank_holds_tensors_that_the_kernels_can_read(source: str, family: str, tmp_path: Path) -> None:
    spec = read_spec(str(write_config(tmp_path, family)))
    weights: Weights = TwinWeights("cpu", torch.float32, spec.norm_offset)
    if source == "checkpoint":
        load_plain(spec, twin=True, device="cpu", dtype=torch.float32).save_pretrained(tmp_path / family)
        weights = CheckpointWeights(tmp_path / family, "cpu", torch.float32)
    if source == "padded":
        padded = with_kv_heads(spec, spec.kv_heads * 2)
        weights, spec = PaddedHeads(weights, spec), padded
    size = 3 if spec.kv_heads == 3 else 2
    for rank in range(size):
        decoder = load_decoder(
            spec, weights, tensor=TensorGroup(rank, size), room=16, device="cpu", dtype=torch.float32
        )
        for layer in decoder.layers:
            tensors = {name: getattr(layer, name) for name in layer.__slots__}
            strided = [n for n, each in tensors.items() if each is not None and not each.is_contiguous()]
            assert strided == []
