"""Print the PTX of a few kernels for a Hopper GPU as JSON, which needs no GPU but a Triton not interpreted.

Started by ``test_compiled.py`` in a process of its own.
"""

import json
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from workshop_utils.parallel.kernels import (
    decode_attention,
    expert_matvec,
    gated_matvec,
    matvec,
    pushed_sum,
    router,
)

HOPPER = GPUTarget("cuda", 90, 32)
LENGTHS = {"lengths": "*i64", "outputs": "*fp32", "log_sums": "*fp32"}
SUM = {"inboxes": "*i64", "turns": "*i32", "size": "i32"}
NUMBERS = {"outputs": "i32", "max_tokens": "i32", "norm_offset": "fp32", "eps": "fp32", "scale": "fp32"}


def ptx(kernel: Any, types: dict[str, str], constants: dict[str, Any], warps: int, stages: int) -> str:
    """Compile for bfloat16 pointers where no type is given, all aligned to 16 bytes."""
    signature = {name: types.get(name, "*bf16") for name in kernel.arg_names}
    signature |= dict.fromkeys(constants, "constexpr")
    index = kernel.arg_names.index
    aligned = {
        (index(n),): [["tt.divisibility", 16]] for n, t in signature.items() if t[0] == "*" or t == "i32"
    }
    source = ASTSource(kernel, signature, {(index(n),): value for n, value in constants.items()}, aligned)
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    return str(compile(source, target=HOPPER, options=options).asm["ptx"])


def product_constants(blocks: matvec.Blocks, batch: int) -> dict[str, Any]:
    return {
        "batch": batch, "padded_batch": batch, "width": 4096, "rows": blocks.rows, "step": blocks.step,
        "whole": True,
    }  # fmt: skip


def experts() -> dict[str, str]:
    """A quarter of Qwen3 30B A3B: 8 of 128 experts of 192 channels; and the whole of it."""
    picks = {"numbers": "*i32", "shares": "*fp32"}
    blocks, sizes = matvec.blocks_for(8 * 2 * 768, 2048, 1), {"active": 8, "whole": True}
    gated = {"width": 2048, "rows": blocks.rows, "step": blocks.step, "activation": "silu"}
    found = {"gated experts": ptx(
        expert_matvec._gated_experts_kernel, NUMBERS | picks, sizes | gated, blocks.warps, 1
    )}  # fmt: skip
    for width in (768, 192):
        few = expert_matvec.summed_blocks(2048, width)
        summed = {"width": width, "rows": few.rows, "step": few.step}
        found[f"summed experts of {width}"] = ptx(
            expert_matvec._summed_experts_kernel, NUMBERS | picks, sizes | summed, few.warps, 1
        )
    choice = {"count": 128, "padded_count": 128, "active": 8, "padded_active": 8, "normalised": True}
    return found | {"router": ptx(router._route_kernel, picks, choice, 1, 1)}


def main() -> None:
    blocks, blocks_of_four = (matvec.blocks_for(4096, 4096, batch) for batch in (1, 4))
    pair = {"each": 2, "rank": 1, "ranks": 2}
    added, gated = {"bias": None, "residual": None}, {"activation": "silu"}
    plain = {"inboxes": None, "turns": None} | added | pair
    pushed = {"out": None, "norm": None} | added | pair
    attention = {
        "softcap": None, "window": None, "group": 4, "padded_group": 16, "head_dim": 128, "padded_dim": 128,
        "splits": 33, "step": 64, "log2_e": decode_attention.LOG2_E,
    }  # fmt: skip
    one, four = product_constants(blocks, 1), product_constants(blocks_of_four, 4)
    summed = pair | {"block": pushed_sum.SLICE}
    found = {
        "matvec": ptx(matvec._matvec_kernel, NUMBERS, plain | one, blocks.warps, 1),
        "matvec of 4": ptx(matvec._matvec_kernel, NUMBERS, plain | four, blocks_of_four.warps, 1),
        "pushed matvec": ptx(matvec._matvec_kernel, NUMBERS | SUM, pushed | one, blocks.warps, 1),
        "gated_matvec": ptx(gated_matvec._gated_matvec_kernel, NUMBERS, gated | one, blocks.warps, 1),
        **experts(),
        "attention": ptx(decode_attention._split_kernel, NUMBERS | LENGTHS, attention, 4, 3),
        "pushed_sum": ptx(pushed_sum._sum_kernel, SUM, summed, 1, 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
