"""Scripts for ranks, places for them to run in, and proof that none is left."""

import os
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launch_helpers import MARK, Marked


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a script into the folder that the test works in; it starts on its line 1."""
    monkeypatch.chdir(tmp_path)

    def _write(text: str, name: str = "script.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text).strip() + "\n", encoding="utf-8")
        return path

    return _write


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Marked]:
    """The processes of this test; what a failed test leaves is ended."""
    mark = Marked(uuid.uuid4().hex)
    monkeypatch.setenv(MARK, mark.mark)
    yield mark
    for process in mark.processes():
        process.kill()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which runs keep their logs."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks of these tests are on the CPU, wherever they run."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not os.environ.get("WORKSHOP_RUN_NOTES")
