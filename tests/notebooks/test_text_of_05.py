"""What notebook 05 says of the shipped recording is what the recording shows, whenever it is made anew."""

from pathlib import Path

import nbformat
import pytest

from workshop_utils.figures.trace_figure import trace_figure
from workshop_utils.figures.trace_phases import NVLINK, SM, UTILISATION, Phase, indexes, phases, reports
from workshop_utils.lessons.trace_table import trace_table
from workshop_utils.monitor.trace import read_trace

FOLDER = Path(__file__).parents[2] / "notebooks"
FILE = "recorded/one_model_four_ways.ndjson"
MARKS = [
    "one GPU",
    "layers split by Accelerate",
    "pipeline, 2 micro-batches",
    "tensor parallel",
    "two replicas",
]
TRACE = read_trace(FOLDER / FILE)
ONE, SPLIT, PIPELINE, TENSOR, REPLICAS = PHASES = phases(TRACE)


def figure(phase: Phase, index: int, what: object = SM) -> float:
    value = phase.value(index, what)  # type: ignore[arg-type]
    assert value is not None
    return value


def test_the_recording_has_two_gpus_and_five_marks() -> None:
    assert indexes(TRACE) == [0, 1]
    assert [phase.name for phase in PHASES] == MARKS
    assert TRACE.header["hardware"][:2] == ["NVIDIA H200"] * 2
    assert reports(TRACE.samples, SM)
    assert all(phase.computing_seconds > 5 for phase in PHASES)


def test_a_split_model_uses_far_less_than_half_of_each_gpu_and_the_other_ways_use_both() -> None:
    alone = figure(ONE, 0)
    assert figure(ONE, 1) < 1
    for index in (0, 1):
        assert figure(SPLIT, index) < alone / 3
        for phase in (PIPELINE, TENSOR, REPLICAS):
            assert figure(phase, index) > alone / 2


def test_nvlink_is_busy_with_tensor_parallelism_and_utilisation_lies_above_sm_activity() -> None:
    for index in (0, 1):
        assert round(figure(TENSOR, index, NVLINK)) == 4  # of 450 GB/s, "under 1 %"
        assert figure(TENSOR, index, NVLINK) > 10 * max(figure(phase, index, NVLINK) for phase in PHASES[:3])
        for phase in PHASES[1:]:
            assert figure(phase, index, UTILISATION) > figure(phase, index)


def test_every_name_of_a_phase_has_room_in_the_figure() -> None:
    words = [text.get_text().split() for text in trace_figure(TRACE).figure.axes[0].texts]
    assert [" ".join(each[1:]) for each in words] == MARKS
    assert len(trace_table(TRACE).rows) == 2 * len(MARKS)


@pytest.mark.parametrize("name", ["04_data_parallel", "05_pipeline_parallel", "06_tensor_parallel"])
def test_the_notebooks_say_how_to_replay_it(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert f"double-click `{FILE}` in the file browser" in text
