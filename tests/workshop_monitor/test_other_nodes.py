"""The frame of the other nodes follows their file, and grows old with it."""

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


def looked(following: OtherNodes) -> dict:
    return json.loads(following.read())


def test_nodes_appear_grow_old_and_go() -> None:
    following = OtherNodes()
    assert (looked(following)) == json.loads(NO_NODES) == {"version": 1, "kind": "nodes", "nodes": None}
    now = time.time()
    write_nodes(nodes_file(), replace(FOUND, updated_at=now))
    frame = looked(following)
    assert (frame["version"], frame["kind"], frame["nodes"]["job"]) == (1, "nodes", "77")
    assert [node["name"] for node in frame["nodes"]["nodes"]] == ["nb", "nc"]
    write_nodes(nodes_file(), replace(FOUND, updated_at=now - 6))
    first = looked(following)
    assert first["nodes"]["ended"] == UNWRITTEN
    assert following.read() == other_nodes.frame_of(first["nodes"])  # sent once, not every second
    nodes_file().unlink()
    assert (looked(following))["nodes"] is None


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"version": 1, "nodes": [{}]}', "\xff\xfe"])
def test_what_is_no_file_of_nodes_is_none(text: str) -> None:
    write_nodes(nodes_file(), FOUND)
    nodes_file().write_text(text, encoding="latin-1")
    assert (looked(OtherNodes()))["nodes"] is None
