"""``workshop kernel``: which JupyterLab is meant, what it can take, and the reader's own configuration."""

import json
import sys
from pathlib import Path

import pytest

from workshop_utils.cli import main
from workshop_utils.errors import WorkshopError
from workshop_utils.lessons import jupyter_server, kernel_command, kernelspec
from workshop_utils.lessons.config_block import remove_block, write_block
from workshop_utils.lessons.jupyter_server import (
    JupyterServer,
    find_server,
    python_of,
    python_of_command_line,
)


@pytest.fixture
def jupyter_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path


def server(
    version: tuple[int, int] = (3, 11), lab: str | None = "4.4.1", psutil: str | None = "7"
) -> JupyterServer:
    return JupyterServer(Path("/apps/bin/python"), version, lab, psutil)


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (server(version=(3, 9)), "runs on Python 3.9"),
        (server(lab="3.6.1"), "has JupyterLab 3.6.1"),
        (server(lab=None), "has no JupyterLab"),
    ],
)
def test_an_old_server_gets_the_kernel_but_no_panel(
    jupyter_folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    candidate: JupyterServer, reason: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(kernel_command, "find_server", lambda _: candidate)
    assert main(["kernel", "install", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["panel"] is False and reason in answer["notes"][0]
    assert (Path(answer["kernel"]) / "kernel.json").is_file()
    assert not (jupyter_folders / "config" / "jupyter_config.py").exists()
    assert not kernelspec.places().panel.is_symlink()


def test_a_server_without_psutil_is_named() -> None:
    assert server().refusal() is None
    assert "no psutil" in kernel_command.notes_on(server(psutil=None), None)[1]


def test_an_unwritable_folder_is_one_sentence(
    jupyter_folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (jupyter_folders / "data").touch()
    monkeypatch.setattr(kernel_command, "find_server", lambda _: None)
    assert main(["kernel", "install"]) == 2
    said = capsys.readouterr().err
    assert "cannot write" in said and "JUPYTER_DATA_DIR" in said and len(said.splitlines()) == 1


def test_a_file_in_the_place_of_a_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "panel").write_text("mine", encoding="utf-8")
    with pytest.raises(WorkshopError, match="no link of ours"):
        kernelspec.link(tmp_path / "panel", tmp_path)
    assert (tmp_path / "panel").read_text(encoding="utf-8") == "mine"


def test_the_kernel_takes_what_the_reader_chose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.delenv("WORKSHOP_CACHE", raising=False)
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    monkeypatch.setenv("HF_HOME", "/project/models")
    variables = kernelspec.kernel_environment()
    assert variables["HF_HOME"] == "/project/models"
    assert Path(variables["TRITON_CACHE_DIR"]).is_relative_to(tmp_path)
    assert Path(variables["WORKSHOP_CACHE"]).is_relative_to(tmp_path)
    assert variables["PATH"].endswith(":${PATH}")


@pytest.mark.parametrize(
    ("first_lines", "python"),
    [
        ("#!{python}\nimport sys\n", True),
        ("#!/usr/bin/env {python}\n", True),
        ("#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n", True),
        ("#!/bin/bash\nmodule load jupyter\n", False),
    ],
)
def test_a_commands_python_stands_in_its_first_lines(tmp_path: Path, first_lines: str, python: bool) -> None:
    command = tmp_path / "jupyter"
    command.write_text(first_lines.format(python=sys.executable), encoding="utf-8")
    assert python_of(command) == (Path(sys.executable) if python else None)


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("/apps/bin/python3.11 /apps/bin/jupyter-lab --config=x", "/apps/bin/python3.11"),
        ("/apps/bin/python -m jupyterlab", "/apps/bin/python"),
        (f"{sys.executable} -m jupyterlab", None),  # the workshop's own lab is not the centre's
        ("/bin/bash -l", None),
        ("/apps/bin/python train.py", None),
    ],
)
def test_a_parents_command_line_is_a_jupyter_server_or_not(line: str, python: str | None) -> None:
    assert python_of_command_line(line.split()) == (Path(python) if python else None)


def test_the_own_environments_jupyter_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setattr(jupyter_server, "python_of_parent", lambda: None)
    assert find_server(None) is None


BEFORES = ["", "c.A = 1\n", "c.A = 1", "# -*- coding: latin-1 -*-\nc.A = '\udce9'\n", "c.A = 1\r\n"]


@pytest.mark.parametrize("before", BEFORES)
def test_the_readers_configuration_survives_to_the_byte(tmp_path: Path, before: str) -> None:
    file = tmp_path / "jupyter_config.py"
    original = before.encode("utf-8", errors="surrogateescape")
    if before:
        file.write_bytes(original)
    for _ in range(2):
        write_block(file, ["import sys"])
    text = file.read_bytes()
    assert text.startswith(original) and text.count(b"import sys") == 1
    assert remove_block(file)
    # A last line that had no end keeps the one it was given.
    assert (file.read_bytes() if file.exists() else b"") in {original, original + b"\n"}
    assert not remove_block(file)


def test_a_configuration_that_is_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "dotfiles.py").write_text("c.A = 1\n", encoding="utf-8")
    (tmp_path / "jupyter_config.py").symlink_to(tmp_path / "dotfiles.py")
    write_block(tmp_path / "jupyter_config.py", ["import sys"])
    assert (tmp_path / "jupyter_config.py").is_symlink()
    assert "import sys" in (tmp_path / "dotfiles.py").read_text(encoding="utf-8")
