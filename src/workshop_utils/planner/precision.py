"""What a GPU, and a build of torch, can compute in."""

from workshop_utils.hardware.catalogue import Gpu

# What PyTorch's builds have code for from release 2.11 on: lowest and highest compute capability.
# Source: the support matrix in pytorch/pytorch RELEASE.md and https://github.com/pytorch/pytorch/issues/172352.
BUILDS = {"cu126": ((5, 0), (9, 0)), "cu128": ((7, 5), (12, 0)), "cu130": ((7, 5), (12, 0))}
# vLLM's published builds are made with CUDA 13, which begins at 7.5.
VLLM_LEAST = (7, 5)
# What our programs load: 16 bits or 32 as they are, fewer through bitsandbytes.
TRANSFORMERS_DTYPES = ("bfloat16", "float16", "float32", "int8", "nf4")
# Where its kernels for fewer bits begin: https://docs.vllm.ai/en/v0.14.0/features/quantization/. Weights in
# fp8 run on Ampere through Marlin, which unpacks them; from 8.9 on the GPU multiplies in fp8 itself.
VLLM_LEAST_BITS = {"fp8": (8, 0), "awq": (7, 5)}
# What a GPU has instead of a precision that it lacks.
HALF, HALF_IN_RANGE = "float16", "float16, where the model keeps to its range"


def capability(gpu: Gpu) -> tuple[int, int]:
    """Return the compute capability as two numbers that compare."""
    major, minor = gpu.compute_capability.split(".")
    return int(major), int(minor)


def no_code(gpu: Gpu, build: str | None) -> tuple[str, str] | None:
    """Return why a build of torch has no code for a GPU and which build has, None where it has itself."""
    if build is None:
        return None
    own = capability(gpu)
    having = [name for name, (least, most) in BUILDS.items() if least <= own and own[0] <= most[0]]
    if build in having:
        return None
    reason = f"PyTorch's build {build} has no code for compute capability {gpu.compute_capability}"
    return reason, f"PyTorch's build {having[0]}" if having else "another type of GPU: no current build has"


def obstacle(gpu: Gpu, dtype: str, engine: str) -> tuple[str, str] | None:
    """Return why a GPU does not compute in a precision and what it takes instead, None where it does."""
    name = gpu.name
    if dtype == "bfloat16" and not gpu.native_bf16:
        return (
            f"{name} (compute capability {gpu.compute_capability}) has no bfloat16; it comes with 8.0",
            HALF_IN_RANGE,
        )
    if engine != "vllm":
        if dtype in TRANSFORMERS_DTYPES:
            return None
        return (
            f"{dtype} is not planned for with transformers, only {', '.join(TRANSFORMERS_DTYPES)}",
            "--engine vllm",
        )
    if capability(gpu) < VLLM_LEAST:
        return (
            f"vLLM's published builds start at compute capability {dotted(VLLM_LEAST)}, and {name} has "
            f"{gpu.compute_capability}",
            "--engine transformers",
        )
    for family, least in VLLM_LEAST_BITS.items():
        if dtype.startswith(family) and capability(gpu) < least:
            return (f"vLLM's {family} kernels start at compute capability {dotted(least)}", HALF)
    return None


def dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
