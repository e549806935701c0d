"""What the reader's machine can do: every notebook runs on all three tiers."""

from dataclasses import dataclass
from typing import Literal

from workshop_utils.hardware.cuda_gpus import cuda_gpus
from workshop_utils.hardware.machine import find_machine
from workshop_utils.units import format_gib


@dataclass(frozen=True)
class Tier:
    """``cpu``, ``one_gpu`` or ``multi_gpu``, and one sentence about what that means here."""

    name: Literal["cpu", "one_gpu", "multi_gpu"]
    sentence: str

    def __str__(self) -> str:
        return f"Tier: {self.name}. {self.sentence}"

    def _repr_markdown_(self) -> str:
        return f"**Tier: `{self.name}`**. {self.sentence}"


def find_tier() -> Tier:
    """Count the GPUs that torch can use; on ``cpu``, say why there are none."""
    gpus = cuda_gpus()
    if not gpus:
        return Tier("cpu", f"{_why_no_gpu()} What needs a GPU is shown from recorded measurements.")
    gpu = f"{gpus[0].name} with {format_gib(gpus[0].memory_bytes)}"
    if len(gpus) == 1:
        return Tier("one_gpu", f"You have one {gpu}. What needs several is shown from recorded measurements.")
    return Tier("multi_gpu", f"You have {len(gpus)} GPUs, the first a {gpu}. Every step runs here.")


def device_of_ranks(ranks: int = 2) -> str:
    """Return ``cuda`` where every rank finds a GPU of its own, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() and torch.cuda.device_count() >= ranks else "cpu"


def _why_no_gpu() -> str:
    machine = find_machine()
    if machine.no_gpu_reason is None:  # the driver shows a GPU that torch cannot use
        names = ", ".join(gpu.name or "a GPU" for gpu in machine.gpus)
        return f"The driver shows {names}, but this PyTorch cannot use it: see the preflight."
    return machine.no_gpu_reason
