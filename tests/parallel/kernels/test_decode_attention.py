import pytest
import torch

from tests.parallel.kernels.references import TOLERANCE, attention, relative_error
from workshop_utils.parallel.kernels.decode_attention import (
    MOST_SPLITS,
    PROGRAMS,
    Workspace,
    decode_attention,
    workspace_for,
)

TOKENS = 200


def workspace_of(splits: int, batch: int, heads: int, head_dim: int) -> Workspace:
    """As left by another step: full of what must not be read."""
    outputs = torch.full((batch, heads, splits, head_dim), torch.nan)
    return Workspace(outputs, torch.full((batch, heads, splits), torch.nan))


@pytest.mark.parametrize(
    ("lengths", "heads", "kv_heads", "head_dim", "splits", "window", "softcap"),
    [
        ([200], 8, 2, 64, 7, None, None),
        ([1], 4, 4, 128, 5, None, None),
        ([130, 1, 77], 3, 3, 96, 3, None, None),
        ([200, 65], 4, 1, 128, 4, 50, None),
        ([33, 199], 2, 1, 256, 5, None, 5.0),
        ([10, 20, 30, 40, 50, 64, 65, 200], 2, 1, 64, 2, 16, 5.0),
    ],
    ids=["grouped", "first token", "padded head", "window", "softcap", "batch of eight"],
)
def test_one_query_a_sequence(
    lengths: list[int],
    heads: int,
    kv_heads: int,
    head_dim: int,
    splits: int,
    window: int | None,
    softcap: float | None,
) -> None:
    draw = torch.Generator().manual_seed(3)
    batch, scale = len(lengths), 2 * head_dim**-0.5
    q = torch.randn(batch, heads, head_dim, generator=draw)
    keys, values = (torch.randn(batch, kv_heads, TOKENS, head_dim, generator=draw) for _ in range(2))
    expected = attention(q, keys, values, lengths, scale, window, softcap)
    for sequence, length in enumerate(lengths):
        keys[sequence, :, length:] = values[sequence, :, length:] = torch.nan  # must not be read
    out = torch.full_like(q, torch.nan)
    found = decode_attention(
        q, keys, values, torch.tensor(lengths), scale=scale, window=window, softcap=softcap, out=out,
        workspace=workspace_of(splits, batch, heads, head_dim),
    )  # fmt: skip
    assert found is out
    assert relative_error(out, expected) < TOLERANCE


def test_a_workspace_is_made_if_none_is_given() -> None:
    q, cache = torch.randn(1, 2, 64), torch.randn(1, 2, 40, 64)
    expected = attention(q, cache, cache, [40], 0.1)
    found = decode_attention(q, cache, cache, torch.tensor([40], dtype=torch.int32), scale=0.1)
    assert relative_error(found, expected) < TOLERANCE


@pytest.mark.parametrize(
    ("batch", "kv_heads", "max_tokens", "splits"),
    [
        (1, 8, 8192, PROGRAMS // 8),
        (8, 8, 8192, 4),
        (1, 1, 8192, MOST_SPLITS),
        (1, 8, 40, 3),
        (8, 64, 8192, 1),
    ],
)
def test_splits_fill_the_gpu_but_are_no_smaller_than_a_tile(
    batch: int, kv_heads: int, max_tokens: int, splits: int
) -> None:
    space = workspace_for(batch, kv_heads, kv_heads, 64, max_tokens, "cpu")
    assert space.outputs.shape == (batch, kv_heads, splits, 64)
    assert space.log_sums.shape == (batch, kv_heads, splits)
