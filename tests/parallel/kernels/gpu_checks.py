"""The kernels in bfloat16 on a GPU, against the references in float32; for ``tests/gpu/bench_kernels.py``."""

from collections.abc import Iterator

import references as plain
import torch

from workshop_utils.parallel.kernels.decode_attention import decode_attention
from workshop_utils.parallel.kernels.expert_matvec import gated_experts, summed_experts
from workshop_utils.parallel.kernels.gated_matvec import gated_matvec
from workshop_utils.parallel.kernels.matvec import matvec
from workshop_utils.parallel.kernels.rotate import rotate_and_store
from workshop_utils.parallel.kernels.router import route
from workshop_utils.parallel.kernels.rows import gated_rows, rms_norm_rows

LENGTHS, TOKENS, HEADS, KV_HEADS = [1, 700, 64], 1000, 8, 2
Checked = Iterator[tuple[str, float]]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def relative_errors() -> Checked:
    """Yield what was computed and its relative error, for every kernel."""
    yield from products()
    yield from experts()
    for head_dim, window, softcap in ((64, None, None), (96, 50, None), (128, None, 20.0), (256, None, None)):
        cache = [drawn(len(LENGTHS), KV_HEADS, TOKENS, head_dim) for _ in range(2)]
        yield from attention(cache, window, softcap)
        yield from rotation(cache)
    yield from rows()


def products() -> Checked:
    for batch, columns in ((1, 1000), (1, 4096), (2, 4096), (3, 1000), (4, 4096)):
        x, weight, norm = drawn(batch, columns), drawn(2000, columns) / columns**0.5, drawn(columns)
        residual = drawn(batch, 2000)
        expected = plain.rms_norm(x.float(), norm.float(), 1e-6) @ weight.float().T
        found = matvec(x, weight, norm=norm, residual=residual)
        yield f"matvec {batch} x {columns}", plain.relative_error(found, expected + residual)
        found = gated_matvec(x, weight, norm=norm)
        yield f"gated_matvec {batch} x {columns}", plain.relative_error(found, plain.gated(expected, "silu"))


def experts() -> Checked:
    """Qwen3 30B A3B, whole and a quarter of it, and Mixtral's width."""
    sizes = ((1, 2048, 768, 128, 8), (4, 2048, 192, 128, 8), (9, 512, 14336, 8, 2))
    for batch, hidden, width, count, active in sizes:
        x, norm = drawn(batch, hidden), drawn(hidden)
        gate_up, down = (
            drawn(count, *size) / size[1] ** 0.5 for size in ((2 * width, hidden), (hidden, width))
        )
        logits = torch.randn(batch, count, device="cuda")  # in 16 bits, some would be equal
        numbers, shares = route(logits, active, True)
        wanted, chosen = logits.float().topk(active)
        yield "route", plain.relative_error(shares, wanted.softmax(-1))
        inside = gated_experts(x, gate_up, numbers, shares, norm=norm)
        normed = plain.rms_norm(x.float(), norm.float(), 1e-6)
        products = torch.einsum("bk,bank->ban", normed, gate_up[chosen].float())
        expected = plain.gated(products, "silu") * shares[..., None]
        yield f"gated_experts {batch} x {width}", plain.relative_error(inside, expected)
        found = summed_experts(inside, down, numbers, x)
        total = x + torch.einsum("bak,bank->bn", expected, down[chosen].float())
        yield f"summed_experts {batch} x {width}", plain.relative_error(found, total)


def attention(cache: list[torch.Tensor], window: int | None, softcap: float | None) -> Checked:
    head_dim = cache[0].shape[-1]
    q, lengths = drawn(len(LENGTHS), HEADS, head_dim), torch.tensor(LENGTHS, device="cuda")
    options = {"scale": head_dim**-0.5, "window": window, "softcap": softcap}
    found = decode_attention(q, *cache, lengths, **options)
    expected = plain.attention(q.float(), *(part.float() for part in cache), LENGTHS, **options)
    yield f"decode_attention, head_dim {head_dim}", plain.relative_error(found, expected)


def rotation(cache: list[torch.Tensor]) -> Checked:
    head_dim, kept = cache[0].shape[-1], slice(HEADS, HEADS + KV_HEADS)
    qkv, norm = drawn(len(LENGTHS), (HEADS + 2 * KV_HEADS) * head_dim), drawn(head_dim)
    angles = torch.rand(TOKENS, head_dim // 2, device="cuda")
    found = rotate_and_store(
        qkv, angles.cos(), angles.sin(), torch.tensor(LENGTHS, device="cuda"), *cache, heads=HEADS,
        kv_heads=KV_HEADS, head_dim=head_dim, q_norm=norm, k_norm=norm,
    )  # fmt: skip
    heads = qkv.float().view(len(LENGTHS), -1, head_dim)
    turned = plain.turned(plain.rms_norm(heads, norm.float(), 1e-6), angles[LENGTHS])
    yield f"rotate_and_store, head_dim {head_dim}", plain.relative_error(found, turned[:, :HEADS])
    keys, values = (part[range(len(LENGTHS)), :, LENGTHS] for part in cache)
    yield "  its keys", plain.relative_error(keys, turned[:, kept])
    yield "  its values", plain.relative_error(values, heads[:, HEADS + KV_HEADS :])


def rows() -> Checked:
    x, residual, norm = drawn(100, 5120), drawn(100, 5120), drawn(5120)
    total, normed = rms_norm_rows(x, norm, 1e-6, residual=residual)
    expected = x.float() + residual.float()
    yield "rms_norm_rows", plain.relative_error(normed, plain.rms_norm(expected, norm.float(), 1e-6))
    yield "  its sums", plain.relative_error(total, expected)
    yield "gated_rows", plain.relative_error(gated_rows(x, "gelu_tanh"), plain.gated(x.float(), "gelu_tanh"))
