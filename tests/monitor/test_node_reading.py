"""Lines of a collector: short enough for Slurm, whole or refused."""

import json
from dataclasses import replace

import pytest

from tests.monitor.other_nodes import READING, WITHOUT
from workshop_utils.hardware import nvml_reasons
from workshop_utils.hardware.my_gpus import SLURM_GPUS, VISIBLE
from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor.host import NO_PSUTIL
from workshop_utils.monitor.node_reading import (
    LONGEST_LINE_BYTES,
    LONGEST_NAME,
    LONGEST_SENTENCE,
    MOST_GPUS,
    Assembly,
    NodeReading,
    lines_of,
    read_row,
    reading_of,
    row_of,
)  # fmt: skip
from workshop_utils.monitor.sample import Sample


def assembled(lines: list[str]) -> list[NodeReading]:
    assembly = Assembly()
    return [reading for line in lines if (reading := assembly.take(json.loads(line))) is not None]


@pytest.mark.parametrize("reading", [READING, WITHOUT])
def test_a_reading_arrives_as_it_left(reading: NodeReading) -> None:
    lines = list(lines_of(reading, "nb", 3))
    assert len(lines) == len(reading.gpus) + 1
    assert assembled(lines) == [reading]
    assert read_row(json.loads(json.dumps(row_of(reading)))) == reading


def test_a_line_that_is_lost_costs_its_reading_and_no_other() -> None:
    first, second = (list(lines_of(READING, "nb", tick)) for tick in (1, 2))
    assembly = Assembly()
    for line in first[1:-1]:
        assembly.take(json.loads(line))
    with pytest.raises(ValueError, match="not complete"):
        assembly.take(json.loads(first[-1]))
    assert [assembly.take(json.loads(line)) for line in second][-1] == READING


def test_no_line_is_cut_by_slurm() -> None:
    longest = max((text for text in vars(nvml_reasons).values() if isinstance(text, str)), key=len)
    sentence = longest + nvml_reasons.of_initialisation(999, "“" * 80)
    error = sentence[: LONGEST_SENTENCE - 1] + "…"
    gpu = replace(
        READING.gpus[0], name="N" * LONGEST_NAME, status="unavailable", error=error, power_watts=1 / 3,
        utilization_percent=1e300,
    )  # fmt: skip
    worst = NodeReading(1790000000.123, (gpu,) * MOST_GPUS, error, READING.host, error)
    for line in lines_of(worst, "n" * 63, 10**9):
        assert len(line.encode()) <= LONGEST_LINE_BYTES


def test_a_sample_is_cut_to_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SLURM_GPUS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VISIBLE, "1")
    gpus = tuple(
        GpuReading(index, f"GPU-{index}", "N" * 99, utilization_percent=37, power_watts=300.0)
        for index in range(2)
    )
    sample = Sample(12.34567, 1.0, Reading.of(gpus), Reading.missing(2 * NO_PSUTIL))
    reading = reading_of(sample)
    assert [(gpu.utilization_percent, gpu.mine) for gpu in reading.gpus] == [(37, False), (37, True)]
    assert (reading.time, len(reading.gpus[0].name or "")) == (12.346, LONGEST_NAME)
    assert reading.host is None
    assert reading.host_error is not None
    assert len(reading.host_error) == LONGEST_SENTENCE
    assert assembled(list(lines_of(reading, "nb", 1))) == [reading]


ROW = json.loads(json.dumps(row_of(READING)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpus": None}, {"gpus": [1]}, {"gpus": [{}] * (MOST_GPUS + 1)}, {"host": []}, {"time": None},
        {"time": "now"}, {"time": float("nan")}, {"time": 10**400}, {"gpus_error": 5},
        {"host_error": "x" * 300}, {"host": {"cpu_percent": True}},
        *({"gpus": [{**ROW["gpus"][0], name: value}]} for name, value in [
            ("index", -1), ("index", True), ("status", "<b>"), ("mine", "yes"), ("name", ["x"]),
            ("memory_used_bytes", float("inf")),
        ]),
    ],
)  # fmt: skip
def test_what_is_no_reading_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        read_row({**ROW, **wrong})


@pytest.mark.parametrize(
    "line", [{}, {"version": 2, "tick": 1, "kind": "node"}, {"version": 1, "tick": None}]
)
def test_what_is_no_line_is_refused(line: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Assembly().take(line)
