"""Whether this very process, a notebook's kernel perhaps, holds GPU memory that the ranks need."""

import sys
from typing import Any

from workshop_utils.units import format_gib


def gpu_memory_held_here() -> str | None:
    """Say in a sentence what this process holds of the GPUs and how to free it; None when it holds nothing.

    torch is not imported for it: a process that has not imported torch holds nothing through it.
    """
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return None
    reserved = {index: cuda.memory_reserved(index) for index in range(cuda.device_count())}
    held = {index: size for index, size in reserved.items() if size}
    if not held:
        return (
            "this process has a CUDA context on a GPU, some hundred MiB that the ranks cannot use; only its "
            "end frees them: restart the kernel and launch before using the GPU here."
        )
    sizes = ", ".join(f"{format_gib(size)} of GPU {index}" for index, size in held.items())
    return (
        f"this process itself holds {sizes}, which the ranks cannot use: delete its models and tensors, then "
        "gc.collect() and torch.cuda.empty_cache(), or restart the kernel."
    )
