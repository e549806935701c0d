import pytest
import torch

from tests.parallel.kernels.references import TOLERANCE, relative_error, rms_norm, turned
from workshop_utils.parallel.kernels.rotate import rotate_and_store

TOKENS, UNTOUCHED = 12, 7.0


@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "rotary_dim", "normed"),
    [(4, 2, 64, None, False), (3, 3, 96, 24, False), (4, 1, 128, None, True), (2, 1, 80, 32, True)],
    ids=["grouped", "partial", "normed", "partial and normed"],
)
@pytest.mark.parametrize("positions", [[5], [3, 0, 11]])
def test_one_token_a_sequence(
    heads: int, kv_heads: int, head_dim: int, rotary_dim: int | None, normed: bool, positions: list[int]
) -> None:
    draw = torch.Generator().manual_seed(1)
    batch = len(positions)
    qkv = torch.randn(batch, (heads + 2 * kv_heads) * head_dim, generator=draw)
    angles = torch.randn(TOKENS, (rotary_dim or head_dim) // 2, generator=draw)
    norms = [torch.randn(head_dim, generator=draw) for _ in range(2)] if normed else [None, None]
    keys, values = (torch.full((batch, kv_heads, TOKENS, head_dim), UNTOUCHED) for _ in range(2))
    found = rotate_and_store(
        qkv, angles.cos(), angles.sin(), torch.tensor(positions), keys, values, heads=heads,
        kv_heads=kv_heads, head_dim=head_dim, q_norm=norms[0], k_norm=norms[1], norm_offset=1.0,
        rotary_dim=rotary_dim,
    )  # fmt: skip
    q, k, v = qkv.view(batch, -1, head_dim).split([heads, kv_heads, kv_heads], dim=1)
    if normed:
        q, k = rms_norm(q, norms[0], 1e-6, 1.0), rms_norm(k, norms[1], 1e-6, 1.0)
    assert relative_error(found, turned(q, angles[positions])) < TOLERANCE
    for cache, new in ((keys, turned(k, angles[positions])), (values, v)):
        expected = torch.full_like(cache, UNTOUCHED)
        expected[torch.arange(batch), :, positions] = new
        assert relative_error(cache, expected) < TOLERANCE


def test_several_tokens_a_sequence_are_as_many_single_ones() -> None:
    draw = torch.Generator().manual_seed(4)
    tokens, starts, sizes = 3, torch.tensor([2, 5]), {"heads": 2, "kv_heads": 1, "head_dim": 64}
    qkv = torch.randn(2 * tokens, 4 * 64, generator=draw)
    angles = torch.randn(TOKENS, 32, generator=draw)
    caches = [torch.full((2, 1, TOKENS, 64), UNTOUCHED) for _ in range(4)]
    together = rotate_and_store(qkv, angles.cos(), angles.sin(), starts, *caches[:2], tokens=tokens, **sizes)
    for token in range(tokens):
        rows = qkv.view(2, tokens, -1)[:, token].contiguous()
        alone = rotate_and_store(rows, angles.cos(), angles.sin(), starts + token, *caches[2:], **sizes)
        assert torch.equal(together.view(2, tokens, 2, 64)[:, token], alone)
    assert torch.equal(caches[0], caches[2])
    assert torch.equal(caches[1], caches[3])


def test_angles_turn_as_in_transformers() -> None:
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    qkv = torch.randn(1, 3 * 64, generator=torch.Generator().manual_seed(2))
    angles = torch.linspace(0, 3, TOKENS)[:, None] * torch.linspace(1, 0.1, 32)
    keys, values = torch.zeros(1, 1, TOKENS, 64), torch.zeros(1, 1, TOKENS, 64)
    found = rotate_and_store(
        qkv, angles.cos(), angles.sin(), torch.tensor([9]), keys, values, heads=1, kv_heads=1, head_dim=64
    )
    both = torch.cat([angles[9], angles[9]])[None]
    q, k, _ = qkv.view(1, 3, 1, 64).split(1, dim=1)
    q, k = llama.apply_rotary_pos_emb(q, k, both.cos(), both.sin())
    assert relative_error(found, q[:, :, 0]) < TOLERANCE
    assert relative_error(keys[:, :, 9], k[:, :, 0]) < TOLERANCE


def test_a_position_beyond_the_cache_overwrites_nothing() -> None:
    """Its place would be the first token of the next sequence."""
    qkv, angles = torch.randn(2, 4 * 64), torch.zeros(TOKENS + 1, 32)
    keys, values = (torch.full((2, 1, TOKENS, 64), UNTOUCHED) for _ in range(2))
    positions = torch.tensor([TOKENS, 3])
    rotate_and_store(
        qkv, angles.cos(), angles.sin(), positions, keys, values, heads=2, kv_heads=1, head_dim=64
    )
    for cache in (keys, values):
        written = (cache != UNTOUCHED).any(dim=-1)
        assert written.nonzero().tolist() == [[1, 0, 3]]
