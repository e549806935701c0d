"""``workshop kernel``: which JupyterLab is meant, what it can take, and the reader's own configuration."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workshop_utils.cli import main
from workshop_utils.errors import WorkshopError
from workshop_utils.lessons import jupyter_server, kernel_command, kernelspec
from workshop_utils.lessons.config_block import BEGIN, END, remove_block, write_block
from workshop_utils.lessons.jupyter_server import (
    JupyterServer,
    ask,
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
        kernelspec.link(tmp_path / "panel", tmp_path, Path("panel"))
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


@pytest.fixture
def built_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with a built panel, and a server that can take it."""
    built = tmp_path / "environment" / kernelspec.PANEL_IN_ENVIRONMENT
    built.mkdir(parents=True)
    (built / "package.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setattr(kernel_command, "find_server", lambda _: server())
    return built


def test_the_readers_work_in_a_folder_of_our_name_stays(jupyter_folders: Path, built_panel: Path) -> None:
    work = jupyter_folders / "data" / "multigpu-llm-workshop"  # JUPYTER_DATA_DIR is their home or scratch
    (work / "python").mkdir(parents=True)
    for name in ("01.ipynb", "python/mine.py"):
        (work / name).write_text("mine", encoding="utf-8")
    for command in (["install"], ["install"], ["remove"]):
        assert main(["kernel", *command]) == 0
    assert (work / "01.ipynb").exists() and (work / "python" / "mine.py").exists()
    assert not kernelspec.places().links.exists() and not kernelspec.places().kernel.exists()


def test_removal_takes_what_python_compiled_and_nothing_else(
    jupyter_folders: Path, built_panel: Path
) -> None:
    assert main(["kernel", "install"]) == 0
    links, kernel = kernelspec.places().links, kernelspec.places().kernel
    subprocess.run([sys.executable, "-c", "import pynvml"], env={"PYTHONPATH": str(links)}, check=True)
    assert list(links.glob("__pycache__/pynvml.*.pyc"))
    (kernel / "logo.svg").touch()
    assert main(["kernel", "remove"]) == 0
    assert not links.exists() and [path.name for path in kernel.iterdir()] == ["logo.svg"]


def test_a_link_of_somebody_else_is_kept(
    jupyter_folders: Path, built_panel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    panel = kernelspec.places().panel
    panel.parent.mkdir(parents=True)
    panel.symlink_to(jupyter_folders / "elsewhere")
    assert main(["kernel", "install"]) == 2
    said = capsys.readouterr().err
    assert "no link of ours" in said and len(said.splitlines()) == 1
    assert main(["kernel", "remove"]) == 0
    assert panel.readlink() == jupyter_folders / "elsewhere"
    panel.unlink()
    panel.symlink_to(jupyter_folders / "removed" / kernelspec.PANEL_IN_ENVIRONMENT)  # an install that is gone
    assert main(["kernel", "install"]) == 0
    assert panel.readlink() == built_panel


@pytest.mark.parametrize("kind", ["folder", "dangling", "loop"])
@pytest.mark.parametrize("action", ["install", "remove"])
def test_a_configuration_that_is_no_file_is_one_sentence(
    jupyter_folders: Path, built_panel: Path, capsys: pytest.CaptureFixture[str], kind: str, action: str
) -> None:
    config = kernelspec.places().config
    config.parent.mkdir()
    if kind == "folder":
        config.mkdir()
    else:
        config.symlink_to(config if kind == "loop" else jupyter_folders / "nowhere" / "file.py")
    assert main(["kernel", action]) == 2
    said = capsys.readouterr().err
    assert str(config) in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("action", ["install", "remove"])
def test_a_kernel_folder_that_is_a_link_is_one_sentence(
    jupyter_folders: Path, built_panel: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    theirs = jupyter_folders / "theirs"
    theirs.mkdir()
    (theirs / "kernel.json").touch()
    kernelspec.places().kernel.parent.mkdir(parents=True)
    kernelspec.places().kernel.symlink_to(theirs)
    assert main(["kernel", action]) == 2
    said = capsys.readouterr().err
    assert "is a link" in said and len(said.splitlines()) == 1
    assert (theirs / "kernel.json").read_text(encoding="utf-8") == ""


def test_a_dollar_in_a_cache_path_reaches_the_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from string import Template  # what jupyter_client fills in the variables with

    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path / "a$HOME"))
    variables = kernelspec.kernel_environment()
    for name in ("WORKSHOP_CACHE", "TRITON_CACHE_DIR"):
        assert str(tmp_path / "a$HOME") in Template(variables[name]).safe_substitute(HOME="/home/reader")


def test_the_current_folders_modules_do_not_run_in_the_other_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json.py", "importlib.py"):
        (tmp_path / name).write_text("open('hijacked', 'w')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    answer = ask(Path(sys.executable))
    assert answer is not None and answer.version == sys.version_info[:2] and answer.lab is not None
    assert not (tmp_path / "hijacked").exists()


@pytest.mark.parametrize(
    "text",
    [
        f"{BEGIN}\nimport sys\nc.MINE = 1\n",
        f"{BEGIN}\nimport sys\nc.MINE = 1\n\n{BEGIN}\nimport sys\n{END}\n",
    ],
)
def test_a_block_without_its_end_is_refused_and_nothing_lost(tmp_path: Path, text: str) -> None:
    file = tmp_path / "jupyter_config.py"
    file.write_text(text, encoding="utf-8")
    for change in (remove_block, lambda file: write_block(file, ["import sys"])):
        with pytest.raises(WorkshopError, match="which lines are yours"):
            change(file)
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (f"c.A = 1\n{BEGIN}\nimport sys\n{END}\nc.B = 2\n", "c.A = 1\nc.B = 2\n"),
        (f"c.A = 1\n\n{BEGIN}\nimport sys\n{END}", "c.A = 1\n"),
        (f"c.A = 1\r\n\r\n{BEGIN}\r\nimport sys\r\n{END}\r\n", "c.A = 1\r\n"),
    ],
)
def test_a_block_in_an_edited_file_takes_no_line_of_the_readers(tmp_path: Path, text: str, rest: str) -> None:
    file = tmp_path / "jupyter_config.py"
    file.write_bytes(text.encode())
    assert remove_block(file)
    assert file.read_bytes().decode() == rest


def test_a_private_configuration_is_private_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "jupyter_config.py"
    file.write_text("c.A = 1\n", encoding="utf-8")
    file.chmod(0o640)
    seen = []
    original = os.chmod

    def chmod(path: str, mode: int) -> None:
        seen.append(os.stat(path).st_mode & 0o777)  # before the new file gets the old one's mode
        original(path, mode)

    monkeypatch.setattr(os, "chmod", chmod)
    write_block(file, ["import sys"])
    assert seen == [0o600] and file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["jupyter_config.py"]
