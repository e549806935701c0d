"""The file of the other nodes: private, bounded, trusted in nothing, and old when it is."""

import json
import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.monitor.other_nodes import READING, WITHOUT, found
from workshop_utils.monitor.nodes_file import (
    FORGET_SECONDS,
    HISTORY_READINGS,
    MOST_BYTES,
    MOST_NODES,
    NOT_STARTED,
    SILENT,
    STARTING,
    UNWRITTEN,
    NodeFigures,
    nodes_file,
    read_nodes,
    shown,
    write_nodes,
)  # fmt: skip

NOW = 1790000000.0
FOUND = found(NOW)


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    return nodes_file()


def test_is_read_as_it_was_written_and_private(file: Path) -> None:
    write_nodes(file, FOUND)
    assert read_nodes(file) == FOUND
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_what_others_could_write_is_not_read(file: Path) -> None:
    write_nodes(file, FOUND)
    file.chmod(0o620)
    assert read_nodes(file) is None


def test_a_pipe_of_its_name_is_not_waited_for(file: Path) -> None:
    file.parent.mkdir()
    os.mkfifo(file, 0o600)
    began = time.monotonic()
    assert read_nodes(file) is None
    assert time.monotonic() - began < 1


def test_a_file_too_large_is_not_read_and_the_largest_job_fits(file: Path) -> None:
    node = NodeFigures("n" * 63)
    gpus = tuple(replace(READING.gpus[0], index=index, utilization_percent=100.0) for index in range(8))
    for _ in range(HISTORY_READINGS + 5):
        node = node.with_reading(replace(READING, gpus=gpus), NOW)
    assert {len(values) for values in node.history} == {HISTORY_READINGS}
    write_nodes(file, replace(FOUND, nodes=(node,) * MOST_NODES))
    print(f"{file.stat().st_size} bytes for {MOST_NODES} nodes of 8 GPUs")
    assert read_nodes(file) is not None
    file.write_bytes(file.read_bytes() + b" " * MOST_BYTES)
    assert read_nodes(file) is None


def test_history_follows_a_gpu_that_comes_and_goes() -> None:
    busy = [replace(gpu, utilization_percent=10 * gpu.index) for gpu in READING.gpus]
    node = NodeFigures("nb").with_reading(replace(READING, gpus=tuple(busy)), NOW)
    node = node.with_reading(replace(READING, gpus=(busy[2],)), NOW)
    assert node.history == ((20, 20),)
    node = node.with_reading(replace(READING, gpus=tuple(busy)), NOW)
    assert node.history == ((0,), (10,), (20, 20, 20))
    assert node.with_reading(WITHOUT, NOW).history == ()


def statuses(at: float, **changes: Any) -> list[tuple[str, str | None]]:
    frame = shown(replace(FOUND, **changes), at)
    assert frame is not None
    return [(node["status"], node["error"]) for node in frame["nodes"]]


def test_what_is_old_is_said_to_be() -> None:
    fresh = shown(FOUND, NOW + 2)
    assert fresh is not None
    assert fresh["ended"] is None
    first = fresh["nodes"][0]
    assert (first["name"], first["status"], first["error"]) == ("nb", "ok", None)
    assert first["reading"]["gpus"][0]["history"] == (37,)
    assert first["reading"]["gpus"][1]["mine"] is False
    assert statuses(NOW + 8, updated_at=NOW + 7) == [("stale", SILENT)] * 2
    assert statuses(NOW, nodes=(NodeFigures("nb"),)) == [("starting", STARTING)]
    assert statuses(NOW, nodes=(NodeFigures("nb"),), started_at=NOW - 61) == [("stale", NOT_STARTED)]
    assert statuses(NOW + 8) == [("ended", None)] * 2  # killed: nobody writes
    killed = shown(FOUND, NOW + 8)
    assert killed is not None
    assert killed["ended"] == UNWRITTEN
    assert killed["nodes"][0]["reading"] is not None  # the last that was known
    stopped = shown(replace(FOUND, ended="It was stopped."), NOW + 1)
    assert stopped is not None
    assert stopped["ended"] == "It was stopped."


@pytest.mark.parametrize("at", [NOW + FORGET_SECONDS + 1, NOW - FORGET_SECONDS - 1])
def test_after_ten_minutes_it_is_forgotten_whatever_the_clock_did(at: float) -> None:
    assert shown(FOUND, at) is None


def damaged() -> list[dict[str, Any]]:
    node = {"name": "nb", "received_at": 1.0, "reading": None, "history": []}
    return [
        {"version": 2}, {"job": None}, {"job": "x" * 65}, {"pid": "1"}, {"updated_at": None},
        {"started_at": None},
        {"updated_at": float("nan")}, {"ended": 5}, {"nodes": None}, {"nodes": [1]},
        {"nodes": [node] * (MOST_NODES + 1)}, {"nodes": [{**node, "name": ""}]},
        {"nodes": [{**node, "history": None}]}, {"nodes": [{**node, "reading": 5}]},
        {"nodes": [{**node, "reading": {"time": 1, "gpus": [], "host": None}, "history": [[1]]}]},
    ]  # fmt: skip


@pytest.mark.parametrize("change", damaged())
def test_what_is_damaged_is_none(change: dict[str, Any], file: Path) -> None:
    write_nodes(file, FOUND)
    row = json.loads(file.read_text())
    file.write_text(json.dumps({**row, **change}))
    assert read_nodes(file) is None


@pytest.mark.parametrize("history", [[[1] * (HISTORY_READINGS + 1)] * 3, [["x"]] * 3, [1, 2, 3]])
def test_a_history_that_is_none_is_refused(history: object, file: Path) -> None:
    write_nodes(file, FOUND)
    row = json.loads(file.read_text())
    row["nodes"][0]["history"] = history
    file.write_text(json.dumps(row))
    assert read_nodes(file) is None
