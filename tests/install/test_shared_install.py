"""``make install``: staff install once, a student with another user id uses it and writes nothing in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import Server, free_port

# nobody: a user id that owns nothing here.
STUDENT = 65534


def python_for_all() -> str | None:
    """Return a Python 3.11 or newer that other users can start, or None."""
    for command in (
        os.path.realpath(sys.executable),
        "/usr/bin/python3.12",
        "/usr/bin/python3.11",
        "/usr/bin/python3",
    ):
        check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
        words = [*as_student(), command, "-c", check]
        if shutil.which(command) and subprocess.run(words, capture_output=True, check=False).returncode == 0:
            return command
    return None


def as_student() -> list[str]:
    # setpriv keeps root's capabilities until its exec; the shell's exec then looks at folders as the student.
    drop = ["setpriv", f"--reuid={STUDENT}", f"--regid={STUDENT}", "--clear-groups", "--"]
    return [*drop, "sh", "-c", 'exec "$@"', "sh"]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of everything below the folder."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def student_environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "USER": "student", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def say(command: list[str], home: Path) -> str:
    done = subprocess.run(
        [*as_student(), *command],
        env=student_environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_class_uses_one_read_only_install(
    checkout: Path, open_folder: Path, start_server: Callable[..., Server]
) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("a second user needs root and setpriv")
    python = python_for_all()
    if python is None:
        pytest.skip("no Python 3.11 with venv that other users can start")
    prefix = open_folder / "class"
    # As staff would type it: not inside the make that runs this test.
    outer = ("MAKE", "PYTHONPATH", "PYTEST", "WORKSHOP")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    done = subprocess.run(
        ["make", "install", f"PREFIX={prefix}", f"PYTHON={python}"],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # The class does not need the checkout that it was installed from.
    shutil.rmtree(checkout)
    before = snapshot(prefix)

    home = open_folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, STUDENT, STUDENT)
    workshop = str(prefix / "bin" / "workshop")
    model = Path(say([workshop, "model", "path"], home).strip())
    assert model.is_relative_to(prefix) and (model / "model.safetensors").is_file()
    assert json.loads(say([workshop, "kernel", "install", "--json"], home))["panel"] is True
    importing = "import torch, transformers, workshop_utils.monitor.sampler; print(torch.__version__)"
    assert say([str(prefix / "bin" / "python"), "-c", importing], home)

    port = free_port()
    log = open_folder / "lab.log"
    server = start_student_lab(workshop, home, port, log, start_server)
    assert (home / "multigpu-llm-workshop" / "00_start_here.ipynb").is_file()
    assert "multigpu-llm-workshop" in json.loads(server.get("api/kernelspecs"))["kernelspecs"]
    assert json.loads(server.get("workshop-monitor/snapshot"))["host"]["status"] == "ok"
    assert snapshot(prefix) == before


def start_student_lab(
    workshop: str, home: Path, port: int, log: Path, start_server: Callable[..., Server]
) -> Server:
    # Jupyter takes the token from here; the student's server would otherwise make its own.
    environment = {**student_environment(home), "JUPYTER_TOKEN": "secret-of-this-test"}
    command = [*as_student(), workshop, "lab", "--no-browser", "--port", str(port)]
    return start_server(command, environment, f"http://127.0.0.1:{port}/", "secret-of-this-test", log)
