"""An estimate as the plan that the panel draws beside what the GPUs really hold."""

from collections.abc import Sequence
from pathlib import Path

from workshop_utils.memory.estimate import Estimate
from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.monitor.plan import PlannedTerm, write_plan


def show_in_panel(estimate: Estimate) -> Path:
    """Draw an estimate's memory as a line on each GPU's chart in JupyterLab's panel; returns the plan's file.

    Rank 0 stands on GPU 0, and so on. Raises WorkshopError where no Jupyter is installed.
    """
    return write_plan(title_of(estimate), planned(estimate.per_gpu))


def planned(ranks: Sequence[GpuEstimate]) -> tuple[tuple[PlannedTerm, ...], ...]:
    """Return the terms of each rank as the panel takes them."""
    return tuple(tuple(PlannedTerm(term.name, term.kind, term.bytes) for term in gpu.terms) for gpu in ranks)


def title_of(estimate: Estimate) -> str:
    """Return what was planned, in one line."""
    work = estimate.workload
    sizes = (("DP", work.data_parallel), ("PP", work.pipeline_parallel), ("TP", work.tensor_parallel))
    layout = " × ".join(f"{name} {size}" for name, size in sizes if size > 1)
    layout += f" with EP {work.expert_ranks}" if work.expert_parallel else ""
    parts = [estimate.model, f"{work.batch} × {work.tokens:,} tokens", work.dtype, work.engine, layout]
    return ", ".join(part for part in parts if part)
