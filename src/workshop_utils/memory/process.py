"""What a process takes on a GPU before and beside any tensor."""

import tomllib
from pathlib import Path

from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.term import Term


def process_term(gpu: Gpu | None) -> Term:
    """Return CUDA context and driver overhead: measured on one GPU type, assumed on every other."""
    with Path(__file__).with_name("process.toml").open("rb") as file:
        measured = tomllib.load(file)
    same = gpu is not None and gpu.name == measured["gpu"]
    return Term(
        name="CUDA context and driver",
        kind="process",
        bytes=measured["bytes"],
        formula="a constant of the process"
        if same
        else f"a constant, measured on another GPU ({measured['gpu']})",
        source=measured["source"],
        certainty="measured" if same else "assumed",
    )
