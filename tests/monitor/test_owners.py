"""Whose a program on a GPU is, over a real process tree and over a fabricated /proc."""

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workshop_utils.monitor.owners import Owner, owners_of

# A program with a library of CUDA's name in its memory, as the driver's processes have it.
ON_A_GPU = """
import mmap, sys, time
with open(sys.argv[1], "rb") as file:
    held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    file = tmp_path / "libcuda.so.1"
    file.write_bytes(b"x" * mmap.PAGESIZE)
    return file


@pytest.fixture
def started(library: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(started: list["subprocess.Popen[str]"], *command: str, **environment: str) -> int:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process.pid


def test_a_child_of_a_kernel_is_its_notebooks(started: list["subprocess.Popen[str]"], library: Path) -> None:
    pid = start(started, sys.executable, "-c", ON_A_GPU, str(library))
    (owner,) = owners_of([pid], {os.getpid(): "07_accelerate.ipynb"})
    assert owner == Owner(pid, owner.command, "07_accelerate.ipynb")
    assert owner.command is not None
    assert owner.command.startswith("python")


def test_what_a_notebook_left_running_is_known_by_its_environment(
    started: list["subprocess.Popen[str]"], library: Path
) -> None:
    words = {"JPY_SESSION_NAME": "/home/me/my <b>plan.ipynb"}
    pid = start(started, sys.executable, "-c", ON_A_GPU, str(library), **words)
    (owner,) = owners_of([pid], {})
    assert owner.notebook == "my <b>plan.ipynb"


def test_a_program_of_no_notebook_has_its_name_alone(
    started: list["subprocess.Popen[str]"], library: Path
) -> None:
    pid = start(started, sys.executable, "-c", ON_A_GPU, str(library), JPY_SESSION_NAME="")
    (owner,) = owners_of([pid], {1: "of init.ipynb"})
    assert owner.notebook is None
    assert owner.command is not None


def test_a_number_that_is_another_programs_here_is_unknown(
    started: list["subprocess.Popen[str]"],
) -> None:
    # As in a container: the driver names a process of the host by a number that is ours by chance.
    waiting = "print('up', flush=True); import time; time.sleep(60)"
    pid = start(started, sys.executable, "-c", waiting)
    assert owners_of([pid], {os.getpid(): "mine.ipynb"}) == (Owner(pid, None, None),)


def test_what_is_gone_or_hidden_is_unknown(tmp_path: Path) -> None:
    assert owners_of([2**22 + 5], {}) == (Owner(2**22 + 5, None, None),)
    assert owners_of([7, 3, 7], {}, proc=tmp_path) == (Owner(3, None, None), Owner(7, None, None))


def test_brackets_and_spaces_in_a_name_do_not_hide_its_parent(tmp_path: Path) -> None:
    for pid, parent, name in ((70, 60, "a) 1 (b"), (60, 50, "torchrun"), (50, 1, "kernel")):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} 0 0")
        (folder / "comm").write_text(f"{name}\n")
        (folder / "maps").write_text("7f00-7f01 r-xp 0 0 0 /usr/lib/libcuda.so.580\n")
    assert owners_of([70], {50: "n.ipynb"}, proc=tmp_path) == (Owner(70, "a) 1 (b", "n.ipynb"),)
