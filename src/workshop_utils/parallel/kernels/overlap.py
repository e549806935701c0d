"""Programmatic dependent launch: a kernel starts while the last programs of the one before still run.

A matrix-vector product takes some ten microseconds, of which filling an empty GPU is a good part. So every
kernel of a decode step may be launched with ``overlap=True``. Until ``wait_for_previous`` it then reads only
weights, which nobody writes; what follows sees all that earlier kernels wrote. Hopper and later:
https://docs.nvidia.com/cuda/cuda-programming-guide/04-special-topics/programmatic-dependent-launch.html
"""

import torch
import triton
import triton.language as tl


@triton.jit
def wait_for_previous(overlap: tl.constexpr):
    """Wait until the kernel launched before has ended and its writes can be seen."""
    if overlap:
        tl.extra.cuda.gdc_wait()


@triton.jit
def let_next_start(overlap: tl.constexpr):
    """Allow the next kernel to take the room that this one leaves, once all programs of this one run."""
    if overlap:
        tl.extra.cuda.gdc_launch_dependents()


def launch_options(overlap: bool) -> dict[str, bool]:
    """Return what a launch needs beside its arguments.

    Fused multiply-adds are asked for since Triton 3.10 will no longer assume them. Without overlap its option
    is not named, as few targets know it.
    """
    return {"enable_fp_fusion": True} | ({"launch_pdl": True} if overlap else {})


def overlap_supported(device: torch.device) -> bool:
    """Return whether ``device`` is a GPU that can launch so (compute capability 9.0 or higher)."""
    return device.type == "cuda" and bool(torch.cuda.get_device_capability(device) >= (9, 0))
