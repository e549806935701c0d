"""The frame of the other nodes follows their file, and grows old with it."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from workshop_monitor import other_nodes
from workshop_monitor.other_nodes import NO_NODES, OtherNodes

from tests.monitor.other_nodes import FOUND
from workshop_utils.monitor.nodes_file import UNWRITTEN, nodes_file, write_nodes


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(other_nodes, "LOOK_SECONDS", 0.0)


async def looked(following: OtherNodes) -> dict:
    following.look()
    if following._task is not None:
        await following._task
    return json.loads(following.frame)


async def test_nodes_appear_grow_old_and_go() -> None:
    following = OtherNodes()
    assert (await looked(following)) == json.loads(NO_NODES) == {"version": 1, "kind": "nodes", "nodes": None}
    now = time.time()
    write_nodes(nodes_file(), replace(FOUND, updated_at=now))
    frame = await looked(following)
    assert (frame["version"], frame["kind"], frame["nodes"]["job"]) == (1, "nodes", "77")
    assert [node["name"] for node in frame["nodes"]["nodes"]] == ["nb", "nc"]
    write_nodes(nodes_file(), replace(FOUND, updated_at=now - 6))
    first = await looked(following)
    assert first["nodes"]["ended"] == UNWRITTEN
    assert following.frame == other_nodes.frame_of(first["nodes"])
    before = following.frame
    await looked(following)
    assert following.frame == before  # sent once, not every second
    nodes_file().unlink()
    assert (await looked(following))["nodes"] is None


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"version": 1, "nodes": [{}]}', "\xff\xfe"])
async def test_what_is_no_file_of_nodes_is_none(text: str) -> None:
    write_nodes(nodes_file(), FOUND)
    nodes_file().write_text(text, encoding="latin-1")
    assert (await looked(OtherNodes()))["nodes"] is None


async def test_reading_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    write_nodes(nodes_file(), FOUND)
    following = OtherNodes()
    reads = []

    def slow(file: Path) -> None:
        reads.append(file)
        time.sleep(0.3)

    monkeypatch.setattr(other_nodes, "read_nodes", slow)
    began = time.monotonic()
    following.look()
    await asyncio.sleep(0)
    following.look()  # a look that has not ended is not doubled
    assert time.monotonic() - began < 0.2
    await following._task
    assert len(reads) == 1


async def test_an_error_nobody_thought_of_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_nodes(nodes_file(), FOUND)

    def broken(_file: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(other_nodes, "read_nodes", broken)
    assert (await looked(OtherNodes()))["nodes"] is None
    assert "could not be read" in caplog.text
