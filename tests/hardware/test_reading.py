"""JSON that is made once and shared is the JSON of the fields."""

import json
from dataclasses import replace

import pytest

from workshop_utils.hardware.reading import GpuProcess, GpuReading, Reading

GPU = GpuReading(
    1, "GPU-1", 'a "name"', utilization_percent=5, memory_used_bytes=7, processes=[GpuProcess(77, None)],
    not_reported={"dram_percent": "Not Supported"},
)  # fmt: skip


@pytest.mark.parametrize(
    "reading",
    [
        GPU,
        GpuReading(0, None, None, "lost", "gone"),
        Reading.of((GPU, GPU)),
        Reading.of(()),
        Reading.of("text"),
        Reading.missing("a “reason”"),
    ],
)
def test_json_is_that_of_the_fields(reading):
    for _ in range(2):
        assert json.loads(reading.json) == json.loads(json.dumps(reading, default=vars))


@pytest.mark.parametrize("figures", [(9, 10), (None, None), (0, 0)])
def test_moved_reading_differs_in_two_figures(figures):
    utilization, memory = figures
    later = GPU.moved(utilization_percent=utilization, memory_used_bytes=memory)
    assert later == replace(GPU, utilization_percent=utilization, memory_used_bytes=memory)
    assert json.loads(later.json) == json.loads(json.dumps(later, default=vars))
    assert json.loads(GPU.json)["memory_used_bytes"] == 7
    again = later.moved(utilization_percent=1, memory_used_bytes=2)
    assert json.loads(again.json)["memory_used_bytes"] == 2
