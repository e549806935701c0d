"""What a script says, and how the launcher takes it in: no processes."""

import json
import os
import time
from pathlib import Path

import pytest

from workshop_utils.measure.measurement import Measurement, Quantity
from workshop_utils.parallel.launch import notes
from workshop_utils.parallel.launch.rank_state import RankState
from workshop_utils.parallel.launch.run_folder import RunFolder
from workshop_utils.parallel.launch.tail import Tail


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The folder of a run, in which this process is rank 0."""
    folder = RunFolder(tmp_path)
    monkeypatch.setenv("WORKSHOP_RUN_NOTES", str(folder.notes(0)))
    return folder


def written(folder: RunFolder) -> list[dict]:
    rows = [json.loads(line) for line in folder.notes(0).read_text(encoding="utf-8").splitlines()]
    assert all(abs(row.pop("time") - time.time()) < 60 for row in rows)
    return rows


def test_without_a_launcher_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notes.say(stage="prefill")
    notes.progress(1, 2)
    with notes.waiting("barrier"):
        notes.heartbeat()
    assert not list(tmp_path.iterdir())


def test_each_word_is_one_line(folder: RunFolder) -> None:
    notes.say(stage="decode")
    with pytest.raises(ValueError, match="gone"), notes.waiting("all_reduce"):
        raise ValueError("gone")
    notes.heartbeat()
    notes.memory(predicted_bytes=5)
    measured = Measurement("run", {"ttft": Quantity(0.5, "seconds")}, "c", "h", {}, None, None)
    notes.hand_back(measured)
    rows = written(folder)
    assert rows[:5] == [
        {"stage": "decode"}, {"waiting": "all_reduce"}, {"left": "all_reduce"}, {"heartbeat": True},
        {"memory": {"predicted_bytes": 5}},
    ]  # fmt: skip
    assert rows[5]["measurement"]["values"] == {"ttft": {"value": 0.5, "unit": "seconds"}}
    with pytest.raises(TypeError):
        notes.hand_back({"model": object()})


def test_fast_progress_is_thinned_and_its_end_is_not(folder: RunFolder) -> None:
    notes.say(stage="decode")
    for step in range(1000):
        notes.progress(step + 1, 1000)
    rows = written(folder)
    assert rows[1] == {"stage": "decode", "done": 1, "of": 1000}
    assert rows[-1] == {"stage": "decode", "done": 1000, "of": 1000}
    assert len(rows) < 50


def test_the_launcher_knows_what_a_rank_has_said(folder: RunFolder) -> None:
    rank = RankState(0, folder)
    notes.say(stage="load")
    notes.memory(predicted_bytes=5, used_bytes=3)
    notes.memory(used_bytes=4)
    notes.progress(2, 9)
    notes.hand_back({"x": 1})
    notes.note({"waiting": "barrier"})
    _, progress = rank.read()
    assert progress is not None
    assert (progress["done"], progress["of"]) == (2, 9)
    assert (rank.words, rank.collective) == ("load: 2 of 9", "barrier")
    assert rank.memory == {"predicted_bytes": 5, "used_bytes": 4}
    assert [sorted({*row} - {"time"}) for row in rank.notes] == [
        ["stage"], ["memory"], ["memory"], ["measurement"]
    ]  # fmt: skip
    notes.note({"left": "barrier"})
    with folder.notes(0).open("a", encoding="utf-8") as file:
        file.write('no note\n[1]\n{"measurement": {"x": 2')  # killed while it wrote
    assert rank.read() == ([], None)
    assert rank.read(everything=True) == ([], None)
    assert rank.collective is None
    assert len(rank.notes) == 4


def test_a_step_of_a_progress_bar_is_a_sign_of_life(folder: RunFolder) -> None:
    rank = RankState(0, folder)
    rank.read()
    rank.sign_at = 0.0
    rank.read()
    assert rank.sign_at == 0.0
    folder.log(0).write_bytes(b"10 %\r20 %\r")
    assert rank.read() == ([], None)
    assert rank.sign_at > 0


def test_lines_are_whole_and_a_bar_is_its_last_step(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.lines() == []
    with path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert tail.lines() == ["one"]
        file.write("o é".encode()[:-1])
        assert tail.lines() == []
        file.write("é\n".encode()[1:] + b"10 %\r20 %\n\xff\nlast\r\nrest")
        assert tail.lines() == ["two é", "20 %", "\ufffd", "last"]
    assert tail.rest() == ["rest"]
    assert tail.rest() == []


def test_much_output_comes_in_pieces_and_at_the_end_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(("x" * 99 + "\n") * 30_000, encoding="ascii")
    tail = Tail(path)
    first = tail.lines()
    assert 10_000 < len(first) < 11_000
    rest = tail.rest()
    assert len(first) + len(rest) == 30_000
    assert {*first, *rest} == {"x" * 99}


def test_notes_are_private(folder: RunFolder) -> None:
    notes.heartbeat()
    assert os.stat(folder.notes(0)).st_mode & 0o077 == 0
