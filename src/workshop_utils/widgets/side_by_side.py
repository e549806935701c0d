"""Data, pipeline and tensor parallel on as many GPUs, each with a real estimate of every rank."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.models.architecture import Architecture
from workshop_utils.widgets.words import for_controls

COUNTS = (1, 2, 4, 8)
LAYOUTS = (
    ("Data parallel", "data_parallel", "a whole copy on each GPU; the batch is shared"),
    ("Pipeline parallel", "pipeline_parallel", "a stage of layers on each GPU, one after the other"),
    ("Tensor parallel", "tensor_parallel", "a share of every matrix and of the KV heads on each GPU"),
)


@dataclass(frozen=True)
class Column:
    """One layout: its estimate, or the sentence that says why it cannot be."""

    name: str
    words: str
    result: Estimate | None
    sentence: str = ""


def columns(
    architecture: Architecture, gpu: Gpu | None, count: int, workload: dict[str, Any]
) -> Iterator[Column]:
    """Yield the three layouts on ``count`` GPUs of one type; on one GPU they are the same."""
    if count == 1:
        yield column("One GPU", "nothing to split", architecture, gpu, workload)
        return
    for name, argument, words in LAYOUTS:
        yield column(f"{name} × {count}", words, architecture, gpu, {**workload, argument: count})


def column(
    name: str, words: str, architecture: Architecture, gpu: Gpu | None, workload: dict[str, Any]
) -> Column:
    """Return one layout, reserve of every rank included."""
    try:
        result = estimate(architecture, gpu=gpu, **workload)
    except WorkshopError as error:
        return Column(name, words, None, for_controls(str(error)))
    return Column(name, idle_words(result) or words, result)


def idle_words(result: Estimate) -> str:
    """Say how many replicas have nothing to do; nothing where each has a sequence."""
    workload = result.workload
    idle = workload.data_parallel - workload.batch
    if idle <= 0:
        return ""
    return f"batch {workload.batch:,} leaves {idle} of {workload.data_parallel} GPUs without work"
