"""Attention of one new token a sequence over a static KV cache, split over the keys (flash-decoding).

A batch of one has only a few KV heads to spread over a hundred multiprocessors, so each head's keys are cut
into splits that run at once, and a second kernel weighs their results:
https://pytorch.org/blog/flash-decoding/
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from workshop_utils.parallel.kernels.activations import capped

# Two programs for each of an H100's 132 multiprocessors, but no more splits than one program can combine.
PROGRAMS, MOST_SPLITS = 264, 128
# A tile of keys.
TILE_BYTES, LEAST_TOKENS, MOST_TOKENS = 16384, 16, 64
# Queries of a KV head are padded to a matrix unit's 16 rows.
LEAST_ROWS = 16
LOG2_E = 1.4426950408889634


@dataclass(frozen=True, slots=True)
class Workspace:
    """What the splits leave for the combination, in float32.

    ``outputs`` [batch, heads, splits, head_dim] are each split's attention, ``log_sums``
    [batch, heads, splits] the base-2 logarithms of its sums of exponentials.
    """

    outputs: torch.Tensor
    log_sums: torch.Tensor


def workspace_for(
    batch: int, heads: int, kv_heads: int, head_dim: int, max_tokens: int, device: torch.device | str
) -> Workspace:
    """Return a workspace with as many splits as fill the GPU; one serves all layers of these shapes."""
    tiles = triton.cdiv(max_tokens, LEAST_TOKENS)
    splits = max(1, min(PROGRAMS // (batch * kv_heads), MOST_SPLITS, tiles))
    outputs = torch.empty(batch, heads, splits, head_dim, dtype=torch.float32, device=device)
    return Workspace(outputs, torch.empty(batch, heads, splits, dtype=torch.float32, device=device))


@triton.jit
def _split_keys(length, window, splits: tl.constexpr, step: tl.constexpr):
    """Return the first key attended to, and how many keys each split takes: whole tiles."""
    first = length * 0
    if window is not None:
        first = tl.maximum(length - window, 0)
    return first, tl.cdiv(tl.cdiv(length - first, splits), step) * step


@triton.jit
def _split_kernel(
    q, key_cache, value_cache, lengths, outputs, log_sums, max_tokens, scale, softcap, window,
    group: tl.constexpr, padded_group: tl.constexpr, head_dim: tl.constexpr, padded_dim: tl.constexpr,
    splits: tl.constexpr, step: tl.constexpr, log2_e: tl.constexpr,
):  # fmt: skip
    split, kv_head, sequence = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths + sequence).to(tl.int32)
    first, keys_each = _split_keys(length, window, splits, step)
    begin = first + split * keys_each
    end = tl.minimum(begin + keys_each, length)
    if begin < end:
        rows, dims, tokens = tl.arange(0, padded_group), tl.arange(0, padded_dim), tl.arange(0, step)
        head = sequence * tl.num_programs(1) + kv_head
        mask = (rows < group)[:, None] & (dims < head_dim)[None, :]
        query_rows = head * group + rows
        query = tl.load(q + query_rows[:, None] * head_dim + dims[None, :], mask=mask, other=0.0)
        offset = head.to(tl.int64) * max_tokens * head_dim
        tile = tokens[:, None] * head_dim + dims[None, :]
        highest = tl.full([padded_group], float("-inf"), tl.float32)
        total = tl.zeros([padded_group], tl.float32)
        mixed = tl.zeros([padded_group, padded_dim], tl.float32)
        for position in tl.range(begin, end, step):
            live = position + tokens < end
            here = offset + position * head_dim
            tile_mask = live[:, None] & (dims < head_dim)[None, :]
            keys = tl.load(key_cache + here + tile, mask=tile_mask, other=0.0)
            values = tl.load(value_cache + here + tile, mask=tile_mask, other=0.0)
            scores = tl.dot(query, tl.trans(keys), input_precision="ieee") * scale
            if softcap is not None:
                scores = capped(scores, softcap)
            scores = tl.where(live[None, :], scores * log2_e, float("-inf"))
            raised = tl.maximum(highest, tl.max(scores, axis=1))
            shares = tl.exp2(scores - raised[:, None])
            fade = tl.exp2(highest - raised)
            total = total * fade + tl.sum(shares, axis=1)
            mixed = tl.dot(shares.to(values.dtype), values, mixed * fade[:, None], input_precision="ieee")
            highest = raised
        places = query_rows * splits + split
        tl.store(outputs + places[:, None] * head_dim + dims[None, :], mixed / total[:, None], mask=mask)
        tl.store(log_sums + places, highest + tl.log2(total), mask=rows < group)


@triton.jit
def _combine_kernel(
    lengths, outputs, log_sums, out, window, head_dim: tl.constexpr, padded_dim: tl.constexpr,
    splits: tl.constexpr, padded_splits: tl.constexpr, step: tl.constexpr,
):  # fmt: skip
    head, sequence = tl.program_id(0), tl.program_id(1)
    length = tl.load(lengths + sequence).to(tl.int32)
    first, keys_each = _split_keys(length, window, splits, step)
    parts, dims = tl.arange(0, padded_splits), tl.arange(0, padded_dim)
    # Splits beyond the length wrote nothing; what lies there is left from another step.
    written = parts * keys_each < length - first
    row = sequence * tl.num_programs(0) + head
    sums = tl.load(log_sums + row * splits + parts, mask=written, other=float("-inf"))
    weights = tl.exp2(sums - tl.max(sums, axis=0))
    mask = written[:, None] & (dims < head_dim)[None, :]
    places = (row * splits + parts)[:, None] * head_dim + dims[None, :]
    mixed = tl.load(outputs + places, mask=mask, other=0.0)
    mixed = tl.sum(mixed * weights[:, None], axis=0) / tl.sum(weights, axis=0)
    tl.store(out + row * head_dim + dims, mixed.to(out.dtype.element_ty), mask=dims < head_dim)


def decode_attention(
    q: torch.Tensor,
    key_cache: torch.Tensor,
    value_cache: torch.Tensor,
    lengths: torch.Tensor,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    out: torch.Tensor | None = None,
    workspace: Workspace | None = None,
) -> torch.Tensor:
    """Return softmax(scale × q @ keys.T) @ values for one query a sequence, [batch, heads, head_dim].

    ``q`` is [batch, heads, head_dim], the caches [batch, kv_heads, max_tokens, head_dim], all contiguous.
    ``lengths`` [batch], integers on the device, at least 1, says how many tokens of a cache are filled, the
    new one included; only the last ``window`` of them count if given. ``softcap`` bounds scores as Gemma 2
    does. Two launches whose grids depend on shapes alone; without a ``workspace`` one is allocated.
    """
    batch, heads, head_dim = q.shape
    kv_heads, max_tokens = key_cache.shape[1:3]
    workspace = workspace or workspace_for(batch, heads, kv_heads, head_dim, max_tokens, q.device)
    splits = workspace.log_sums.shape[2]
    padded_dim = triton.next_power_of_2(head_dim)
    fitting = TILE_BYTES // (padded_dim * key_cache.element_size())
    step = min(MOST_TOKENS, max(LEAST_TOKENS, fitting))
    out = torch.empty_like(q) if out is None else out
    _split_kernel[(splits, kv_heads, batch)](
        q, key_cache, value_cache, lengths, workspace.outputs, workspace.log_sums, max_tokens,
        scale, softcap, window, group=heads // kv_heads,
        padded_group=max(LEAST_ROWS, triton.next_power_of_2(heads // kv_heads)), head_dim=head_dim,
        padded_dim=padded_dim, splits=splits, step=step, log2_e=LOG2_E,
        num_warps=4, num_stages=3, enable_fp_fusion=True,
    )  # fmt: skip
    _combine_kernel[(heads, batch)](
        lengths, workspace.outputs, workspace.log_sums, out, window, head_dim=head_dim, padded_dim=padded_dim,
        splits=splits, padded_splits=triton.next_power_of_2(splits), step=step,
        num_warps=8, enable_fp_fusion=True,
    )  # fmt: skip
    return out
