"""A recording in figures: a row for each GPU and phase, and which samples were counted."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.figures.made_traces import Gpu, gpu, made, two_phases
from workshop_utils.figures.trace_figure import NO_GPUS
from workshop_utils.lessons.trace_table import NOTHING, trace_table


def test_a_row_for_each_gpu_of_each_phase(tmp_path: Path) -> None:
    table = trace_table(two_phases(tmp_path))
    assert list(table.headers) == [
        "phase", "GPU", "computes for, s", "utilisation, %", "SM activity, %", "memory bandwidth, %",
        "sent over NVLink, GB/s", "memory in use, GiB, at most", "power, W",
    ]  # fmt: skip
    assert [list(row) for row in table.rows] == [
        ["1 alone", "0", "2", "100", "50", "25", "3.00", "30", "150"],
        ["", "1", "", "0", "0", "0", "3.00", "10", "100"],
        ["2 both at work", "0", "2", "160", "80", "40", "3.00", "10", "180"],
        ["", "1", "", "40", "20", "10", "3.00", "10", "120"],
    ]
    assert "the SM activity of at least one is 1 % or more" in table.caption
    assert "Recorded on 2 × NVIDIA H100 80GB HBM3, CPU x" in table.caption
    assert NOTHING not in table.caption
    assert "No GPU reports" not in table.caption


def test_columns_that_no_gpu_reports_are_named_and_left_out(tmp_path: Path) -> None:
    old = [(gpu(0, None, utilization_percent=50, dram_percent=None, nvlink_tx_bytes_per_s=None),)] * 2
    table = trace_table(made(tmp_path, list(enumerate(old))))
    assert list(table.headers)[3:] == ["utilisation, %", "memory in use, GiB, at most", "power, W"]
    assert table.rows[0][0] == "the whole recording"
    assert "the utilisation of at least one is 1 % or more" in table.caption
    assert "No GPU reports: SM activity, memory bandwidth, sent over NVLink." in table.caption


def test_a_phase_in_which_nothing_computes_has_no_figures(tmp_path: Path) -> None:
    samples = [(0, (gpu(0, 50),)), (1, (gpu(0, 50),)), (2, (gpu(0),))]
    table = trace_table(made(tmp_path, samples, [(0, "decode"), (2, "idle")]))
    assert list(table.rows[1]) == ["2 idle", "0", "0", *[NOTHING] * 6]
    assert f"{NOTHING}: no figure to average." in table.caption


LOST = {"index": 0, "status": "lost", "error": "it fell off the bus"}


@pytest.mark.parametrize("samples", [[], [(0, None)], [(0, (LOST,))]])
def test_without_gpus_one_sentence(tmp_path: Path, samples: list[tuple[float, Sequence[Gpu] | None]]) -> None:
    assert repr(trace_table(made(tmp_path, samples))) == NO_GPUS
