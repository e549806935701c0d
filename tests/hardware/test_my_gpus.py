"""GPUs that the driver shows and that are not this job's."""

import json

import pytest

from workshop_utils.hardware.my_gpus import SLURM_GPUS, VISIBLE, held_gpus, my_gpus
from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor.sample import Sample

STEP, JOB = SLURM_GPUS


def gpus(count: int, refused: tuple[int, ...] = (), lost: tuple[int, ...] = ()) -> tuple[GpuReading, ...]:
    status = dict.fromkeys(refused, "unavailable") | dict.fromkeys(lost, "lost")
    return tuple(
        GpuReading(index, f"GPU-57ab000{index}-0000", "H200", status.get(index, "ok"))
        for index in range(count)
    )


@pytest.mark.parametrize(
    ("environment", "shown", "held"),
    [
        ({}, gpus(8), None),  # a workstation: nothing is anybody else's
        ({}, gpus(8, refused=(3,)), None),  # one that answers nobody, which its card says
        ({VISIBLE: "2,3"}, gpus(8), (2, 3)),
        ({VISIBLE: "3,2"}, gpus(8), (2, 3)),
        ({VISIBLE: "GPU-57ab0005,GPU-57ab0001"}, gpus(8), (1, 5)),
        ({VISIBLE: "2,3"}, gpus(8, lost=(3,)), (2, 3)),
        ({VISIBLE: ""}, gpus(8), ()),
        ({VISIBLE: "NoDevFiles"}, gpus(8), ()),
        # A cgroup lets two GPUs through, which CUDA numbers from 0; the driver shows and refuses the others.
        ({VISIBLE: "0,1", JOB: "4,5"}, gpus(8, refused=(0, 1, 2, 3, 6, 7)), (4, 5)),
        # The same where the driver does not show them at all.
        ({VISIBLE: "0,1", JOB: "4,5"}, gpus(2), (0, 1)),
        ({JOB: "4,5"}, gpus(2), (0, 1)),
        ({JOB: "4,5"}, gpus(8, refused=(0, 1, 2, 3, 6, 7)), (4, 5)),
        # Nothing is hidden, and the job's program was told nothing.
        ({JOB: "4,5"}, gpus(8), (4, 5)),
        ({STEP: "6", JOB: "4,5"}, gpus(8), (6,)),
        ({JOB: "GPU-57ab0005-0000"}, gpus(8), (5,)),
        ({JOB: "somebody-elses-id"}, gpus(8), None),
        ({JOB: "4,9"}, gpus(8), None),
        # Slices have no figures of their own: the GPUs they are part of cannot be told.
        ({VISIBLE: "MIG-57ab", JOB: "MIG-57ab"}, gpus(8), None),
        ({VISIBLE: "0"}, (), ()),
    ],
)
def test_which_gpus_a_job_holds(environment, shown, held):
    assert held_gpus(shown, environment) == held


def test_cuda_numbers_the_gpus_that_a_cgroup_lets_through():
    shown = gpus(8, refused=(0, 1, 2, 3, 6, 7))
    assert [gpu.index for gpu in my_gpus(shown, {VISIBLE: "0,1"})] == [4, 5]


def test_a_sample_says_which_are_mine(monkeypatch):
    for name in (STEP, JOB):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VISIBLE, "1")
    frame = json.loads(Sample(1.0, 1.0, Reading.of(gpus(2)), Reading.missing("none")).frame)
    assert frame["my_gpus"] == [1]
    monkeypatch.delenv(VISIBLE)
    frame = json.loads(Sample(1.0, 1.0, Reading.of(gpus(2)), Reading.missing("none")).frame)
    assert frame["my_gpus"] is None
    frame = json.loads(Sample(1.0, 1.0, Reading.missing("no driver"), Reading.missing("none")).frame)
    assert frame["my_gpus"] is None
