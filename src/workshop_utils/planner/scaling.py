"""How a strategy is expected to scale: the speed of 1, 2, 4 and 8 GPUs, each times that of one."""

from dataclasses import dataclass, replace

from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.layout_check import first_obstacle
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.planner.layout import Layout
from workshop_utils.planner.offer import Offer
from workshop_utils.planner.speed import VALUE_BYTES, Replica, Text, runner_of, speeds

SIZES = (1, 2, 4, 8)
# Recorded runs had up to so many GPUs of a node; the speed of more is assumed.
MOST_RECORDED = 2


@dataclass(frozen=True)
class Point:
    """So many GPUs, and how many times as fast as one they are expected to be, from ``low`` to ``high``."""

    gpus: int
    times: float
    low: float
    high: float


def expected_scaling(strategy: str, model: str, text: Text, gpu: str = "H200") -> list[Point]:
    """Return the decode speed of 1 to 8 GPUs of one node over NVLink, bfloat16, by this workshop's runners.

    ``strategy`` is tensor (one batch for all), data (such a batch for each replica) or pipeline (one for each
    stage: as many micro-batches as stages). Sizes that the model cannot be cut into are left out.
    """
    architecture = find_architecture(model)
    runner = runner_of(architecture, "transformers", "bfloat16")
    node = Offer("node", find_gpu(gpu), 8, 1, 8, 1, 24, link="nvlink")
    weight_bytes = VALUE_BYTES * count_parameters(architecture).total

    def tokens_per_s(size: int) -> float:
        layout = Layout(**{strategy: size})
        work = replace(text, batch=text.batch * size) if strategy == "pipeline" else text
        seconds = Replica(architecture, runner, node, layout, weight_bytes).speed(work).step_s
        copies = size if strategy == "data" else 1
        return copies * work.batch / seconds

    points = []
    for size in SIZES:
        if strategy == "tensor" and first_obstacle(architecture, size):
            continue
        times = tokens_per_s(size) / tokens_per_s(1)
        spread = 0.0 if size == 1 else runner.range if size <= MOST_RECORDED else speeds()["assumed_range"]
        points.append(Point(size, times, times * (1 - spread), min(size, times * (1 + spread))))
    return points
