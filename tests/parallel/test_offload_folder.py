"""The folder of offloaded layers: nobody else's files are read or deleted, and a dead run leaves nothing."""

import json
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.parallel.big_model.offload_folder import (
    INDEX,
    MARKER,
    check_offload_folder,
    clear_if_dead,
    clear_offload_folder,
    save_index,
    take_offload_folder,
)

TENSORS = ("model.layers.0.weight", "model.layers.1.weight")
# Takes the folder, writes half of a layer and is killed, or waits.
OTHER_RUN = """
import os, signal, sys, time
from pathlib import Path
from workshop_utils.parallel.big_model.offload_folder import take_offload_folder
folder = Path(sys.argv[1])
take_offload_folder(folder, ["model.layers.0.weight"], 10)
(folder / "model.layers.0.weight.dat").write_bytes(b"half")
print("taken", flush=True)
time.sleep(60) if sys.argv[2] == "wait" else os.kill(os.getpid(), signal.SIGKILL)
"""


def marked(folder: Path, **changes: object) -> Path:
    """A folder with our marker, as if somebody else had written it."""
    folder.mkdir()
    row = {"host": "elsewhere", "pid": 1, "started": 0.0, "made": True, "files": [], **changes}
    (folder / MARKER).write_text(json.dumps(row), encoding="utf-8")
    return folder


def test_a_folder_is_made_used_and_gone_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "offload"
    take_offload_folder(folder, TENSORS, 100)
    for name in TENSORS:
        (folder / f"{name}.dat").write_bytes(b"values")
    save_index(folder, {TENSORS[0]: {"dtype": "float32"}})
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [MARKER, INDEX, *(f"{name}.dat" for name in TENSORS)]
    )
    with pytest.raises(WorkshopError, match=r"holds another model of this process; release\(\) it first"):
        take_offload_folder(folder, TENSORS, 100)
    clear_offload_folder(folder)
    assert not folder.exists()
    clear_offload_folder(folder)


def test_what_a_killed_run_left_is_cleaned_up_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "offload"
    folder.mkdir()
    (folder / "mine.dat").write_bytes(b"not of the run")
    killed = subprocess.run([sys.executable, "-c", OTHER_RUN, str(folder), "die"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (folder / "model.layers.0.weight.dat").read_bytes() == b"half"
    take_offload_folder(folder, TENSORS, 100)
    assert sorted(file.name for file in folder.iterdir()) == [MARKER, "mine.dat"]
    clear_offload_folder(folder)
    assert [file.name for file in folder.iterdir()] == ["mine.dat"]


def test_a_living_run_keeps_its_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER_RUN, str(tmp_path / "offload"), "wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "taken\n"
        with pytest.raises(WorkshopError, match=rf"in use by process {other.pid}; wait for it"):
            take_offload_folder(tmp_path / "offload", TENSORS, 100)
        clear_if_dead(tmp_path / "offload")
        assert (tmp_path / "offload" / "model.layers.0.weight.dat").exists()
        other.kill()
    clear_if_dead(tmp_path / "offload")
    assert not (tmp_path / "offload").exists()


def test_a_run_on_another_node_may_still_live(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match=r"process 1 on elsewhere, which cannot be seen from here"):
        take_offload_folder(marked(tmp_path / "offload"), TENSORS, 100)
    clear_if_dead(tmp_path / "offload")
    assert (tmp_path / "offload" / MARKER).exists()


def test_somebody_elses_weights_are_neither_read_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text("{}", encoding="utf-8")
    with pytest.raises(WorkshopError, match=rf"already has {INDEX}, which no run of the workshop wrote"):
        take_offload_folder(tmp_path, TENSORS, 100)
    assert (tmp_path / INDEX).read_text(encoding="utf-8") == "{}"
    assert not (tmp_path / MARKER).exists()


def test_a_marker_deletes_only_offloaded_weights_in_its_own_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.dat"
    outside.write_bytes(b"x")
    folder = marked(tmp_path / "offload", files=["../outside.dat", "notes.txt", "a.dat"])
    for name in ("notes.txt", "a.dat"):
        (folder / name).write_bytes(b"x")
    clear_offload_folder(folder)
    assert outside.exists()
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("text", ["", "[]", '{"host": "here"}'])
def test_a_damaged_marker_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text, encoding="utf-8")
    with pytest.raises(WorkshopError, match=r"cannot be read \(.*nobody knows whose weights"):
        take_offload_folder(tmp_path, TENSORS, 100)


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(WorkshopError, match=r"needs 4\.0 GB but 1\.0 MB are left on the disk"):
        take_offload_folder(tmp_path / "offload", TENSORS, 4 * 10**9)
    assert not (tmp_path / "offload").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    # Not a read-only folder: root, as in a container, writes there all the same.
    with pytest.raises(WorkshopError, match=r"cannot write in /proc \(.*\); name another --offload-folder"):
        take_offload_folder(Path("/proc/offload"), TENSORS, 0)
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(WorkshopError, match=r"file is a file; name another --offload-folder"):
        take_offload_folder(file, TENSORS, 0)
    with pytest.raises(WorkshopError, match=r"x/y cannot be made, because \S+/file is a file; name another"):
        take_offload_folder(file / "x" / "y", TENSORS, 0)
    clear_if_dead(file / "x")


def test_a_dry_check_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "offload"
    check_offload_folder(folder)
    assert list(tmp_path.iterdir()) == []
    command = [sys.executable, "-c", OTHER_RUN, str(folder), "die"]
    subprocess.run(command, check=False)
    (folder / INDEX).write_text("{}", encoding="utf-8")  # the killed run's own
    left = sorted(folder.iterdir())
    check_offload_folder(folder)
    assert sorted(folder.iterdir()) == left
    (folder / MARKER).unlink()
    with pytest.raises(WorkshopError, match=rf"already has {INDEX}"):
        check_offload_folder(folder)


def test_what_a_killed_run_left_on_a_full_disk_is_no_reason_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "offload"
    subprocess.run([sys.executable, "-c", OTHER_RUN, str(folder), "die"], check=False)
    module = "workshop_utils.parallel.big_model.offload_folder"
    monkeypatch.setattr(f"{module}.require_writable", lambda *_: pytest.fail("wrote on a full disk"))
    check_offload_folder(folder)
