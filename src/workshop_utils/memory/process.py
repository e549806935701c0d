"""What a process takes on a GPU before and beside any tensor of the model."""

import functools
import json
import os
from typing import Any

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.term import Term

# Where no GPU is named: the kind on which the rest was measured.
NEWEST_MEASURED = "9.0"


@functools.cache
def constants() -> dict[str, Any]:
    """Return ``process.json``."""
    with open(os.path.join(os.path.dirname(__file__), "process.json"), encoding="utf-8") as file:
        return dict(json.load(file))


def process_term(gpu: Gpu | None) -> Term:
    """Return CUDA context and driver overhead: measured on some GPU types, assumed on every other."""
    measured = constants()["context"]
    same = gpu is not None and gpu.name in measured["gpus"]
    where = " and ".join(measured["gpus"])
    return Term(
        name="CUDA context and driver",
        kind="process",
        bytes=measured["bytes"],
        formula="a constant of the process" if same else f"a constant, measured on other GPUs ({where})",
        source=measured["source"],
        certainty="measured" if same else "assumed",
    )


def nccl_terms(tensor_parallel: int) -> tuple[Term, ...]:
    """Return what NCCL takes on each GPU once several tensor ranks speak to one another."""
    if tensor_parallel == 1:
        return ()
    measured = constants()["nccl"]
    formula = "channels and buffers of one communicator, before any tensor is sent"
    return (Term("NCCL", "process", measured["bytes"], formula, measured["source"], "assumed"),)


def cublas_bytes(gpu: Gpu | None) -> int:
    """Return the workspace of cuBLAS on this kind of GPU."""
    kib = constants()["cublas"]["kib"]
    capability = gpu.compute_capability if gpu else NEWEST_MEASURED
    return int(kib.get(capability, kib["other"])) << 10


def cublas_term(gpu: Gpu | None) -> Term:
    """Return the same as a term."""
    return Term(
        name="cuBLAS workspace",
        kind="activations",
        bytes=cublas_bytes(gpu),
        formula="torch's choice for this kind of GPU, taken at the first matrix product",
        source=constants()["cublas"]["source"],
        certainty="exact" if gpu else "assumed",
    )
