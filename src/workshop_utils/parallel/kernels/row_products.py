"""Products of a few weight rows with a batch of vectors: the loop inside every matrix-vector kernel.

The weights are read once, so time is their bytes over the memory bandwidth as long as enough loads are in
flight: about latency × bandwidth = 0.7 µs × 3 TB/s, or 16 KB on each of an H100's 132 multiprocessors.

RMSNorm (https://arxiv.org/abs/1910.07467) is one scale for each vector, so it can wait until after the
product: the loop sums the squares of what it reads anyway, and multiplies by the norm's weight alone.
"""

import triton
import triton.language as tl


@triton.jit
def load_tile(pointers, mask, masked: tl.constexpr):
    """Load weights, to be dropped from the caches first: no one reads them again in this step."""
    if masked:
        tile = tl.load(pointers, mask=mask, other=0.0, eviction_policy="evict_first")
    else:
        tile = tl.load(pointers, eviction_policy="evict_first")
    return tile


@triton.jit
def load_vectors(
    x, columns, batch: tl.constexpr, padded_batch: tl.constexpr, width: tl.constexpr, masked: tl.constexpr
):
    """Load columns [1, step] of all vectors, zeros beyond the batch and the width: [padded_batch, step]."""
    vectors = tl.arange(0, padded_batch)[:, None]
    pointers = x + vectors * width + columns
    if masked or batch < padded_batch:
        values = tl.load(pointers, mask=(vectors < batch) & (columns < width), other=0.0)
    else:
        values = tl.load(pointers)
    return values


@triton.jit
def add_step(
    products, squares, tile, x, norm, norm_offset, columns,
    batch: tl.constexpr, width: tl.constexpr, masked: tl.constexpr,
):  # fmt: skip
    """Add the products of one weight tile [rows, step] to sums that stay inside each thread."""
    padded_batch: tl.constexpr = products.shape[0]
    rows: tl.constexpr = tile.shape[0]
    lanes: tl.constexpr = products.shape[2]
    each: tl.constexpr = tile.shape[1] // lanes
    values = load_vectors(x, columns, batch, padded_batch, width, masked).to(tl.float32)
    if norm is not None:
        squares += tl.sum(tl.reshape(values * values, [padded_batch, lanes, each]), axis=2)
        gains = load_vectors(norm, columns, 1, 1, width, masked).to(tl.float32)
        values *= norm_offset + gains
    vectors = tl.reshape(values, [padded_batch, 1, lanes, each])
    weights = tl.reshape(tile.to(tl.float32), [1, rows, lanes, each])
    products += tl.sum(vectors * weights, axis=3)
    return products, squares


@triton.jit
def row_products(
    x, weight_rows, row_mask, norm, norm_offset, eps,
    batch: tl.constexpr, padded_batch: tl.constexpr, width: tl.constexpr, step: tl.constexpr,
    whole: tl.constexpr,
):  # fmt: skip
    """Return the products [padded_batch, rows] in float32, scaled by 1 / RMS of their vector if normed.

    ``weight_rows`` [rows, 1] points at the rows' first weights. The next tile is on its way while one is
    multiplied. Threads sum on their own and meet once, after the loop: a thread reads 16 bytes of every row
    in each step. In float32 and without tensor cores, which would mostly idle on batches so small.
    """
    each: tl.constexpr = 128 // x.dtype.element_ty.primitive_bitwidth
    masked: tl.constexpr = (not whole) or width % step != 0
    columns = tl.arange(0, step)[None, :]
    tile = load_tile(weight_rows + columns, row_mask & (columns < width), masked)
    products = tl.zeros([padded_batch, weight_rows.shape[0], step // each], tl.float32)
    squares = tl.zeros([padded_batch, step // each], tl.float32)
    for start in tl.range(step, width, step):
        ahead = start + columns
        following = load_tile(weight_rows + ahead, row_mask & (ahead < width), masked)
        products, squares = add_step(
            products, squares, tile, x, norm, norm_offset, ahead - step, batch, width, masked
        )
        tile = following
    columns += (width - 1) // step * step
    products, squares = add_step(products, squares, tile, x, norm, norm_offset, columns, batch, width, masked)
    products = tl.sum(products, axis=2)
    if norm is not None:
        products *= tl.rsqrt(tl.sum(squares, axis=1) / width + eps)[:, None]
    return products
