"""The file through which a decode loop tells the panel its tokens."""

import json
import os
import stat
import subprocess
import sys
import time

import pytest

from workshop_utils.monitor import tokens_file
from workshop_utils.monitor.private_file import write_private
from workshop_utils.monitor.tokens_file import (
    JOB_VARIABLE,
    LAB_VARIABLES,
    Teller,
    Told,
    read_tokens,
    remove_left_behind,
)
from workshop_utils.monitor.tokens_file import tokens_file as file_of

LOOP = """
import sys, time
from workshop_utils.monitor.tokens import count_tokens
from workshop_utils.monitor.tokens_file import tokens_file
for _ in range(2):
    count_tokens(8)
print("counted", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    for name in (*LAB_VARIABLES, JOB_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("variable", LAB_VARIABLES)
def test_a_loop_below_jupyterlab_tells_its_tokens_and_leaves_nothing(folder, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with subprocess.Popen([sys.executable, "-c", LOOP], stdin=subprocess.PIPE) as loop:
        until(lambda: read_tokens(folder))
        until(lambda: read_tokens(folder)[loop.pid].tokens == 16)
        told = read_tokens(folder)[loop.pid]
        assert 0 <= time.monotonic() - told.ticks < 10
        assert stat.S_IMODE(file_of(loop.pid).stat().st_mode) == 0o600
        loop.communicate(b"\n")
    assert loop.returncode == 0
    assert list(folder.iterdir()) == []


def test_a_loop_of_nobodys_jupyterlab_writes_nothing(folder):
    with subprocess.Popen(
        [sys.executable, "-c", LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as loop:
        assert loop.stdout.readline() == b"counted\n"
        time.sleep(0.2)
        assert list(folder.iterdir()) == []
        loop.communicate(b"\n")
    assert loop.returncode == 0


def test_a_thread_ends_when_there_is_nothing_new_and_begins_again(folder, monkeypatch):
    monkeypatch.setenv(LAB_VARIABLES[0], "1")
    monkeypatch.setattr(tokens_file, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(tokens_file, "QUIET_SECONDS", 0.1)
    total = Told(1.0, 8)
    teller = Teller(lambda: total)
    for total in (Told(1.0, 8), Told(2.0, 24)):
        teller.wake()
        until(lambda: read_tokens(folder).get(os.getpid()) is not None)
        assert read_tokens(folder)[os.getpid()] == total
        until(lambda: not list(folder.iterdir()))


def test_a_child_of_a_fork_tells_for_itself(folder, monkeypatch):
    monkeypatch.setenv(LAB_VARIABLES[0], "1")
    script = LOOP.replace("for _", "count_tokens(1)\nimport os\nchild = os.fork()\nfor _") + "os._exit(0)"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as loop:
        until(lambda: len(read_tokens(folder)) == 2)
        until(lambda: {told.tokens for told in read_tokens(folder).values()} == {17})
        loop.communicate(b"\n\n")


FORK = """
import os
while not tokens_file(os.getpid()).exists():
    time.sleep(0.01)
if os.fork() == 0:
    sys.exit()
os.wait()
print"""


def test_a_child_that_ends_leaves_its_parents_file(folder, monkeypatch):
    monkeypatch.setenv(LAB_VARIABLES[0], "1")
    command = [sys.executable, "-c", LOOP.replace("\nprint", FORK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as loop:
        assert loop.stdout.readline() == b"counted\n"
        assert set(read_tokens(folder)) == {loop.pid}
        loop.communicate(b"\n")


def test_a_disk_that_was_full_for_a_while_costs_that_while(folder, monkeypatch):
    monkeypatch.setenv(LAB_VARIABLES[0], "1")
    monkeypatch.setattr(tokens_file, "BEAT_SECONDS", 0.01)
    full = [True, True]
    write = tokens_file.write_private

    def sometimes(file, text):
        if full:
            full.pop()
            raise OSError(28, "No space left on device")
        write(file, text)

    monkeypatch.setattr(tokens_file, "write_private", sometimes)
    monkeypatch.setattr(tokens_file, "QUIET_SECONDS", 0.3)
    Teller(lambda: Told(1.0, 8)).wake()
    until(lambda: read_tokens(folder) == {os.getpid(): Told(1.0, 8)})
    until(lambda: not list(folder.iterdir()))


def test_another_job_of_the_same_reader_is_not_ours(folder, monkeypatch):
    write_private(file_of(1), '{"ticks": 1.5, "tokens": 3, "job": "77"}')
    write_private(file_of(2), '{"ticks": 1.5, "tokens": 4, "job": "78"}')
    assert read_tokens(folder) == {}
    monkeypatch.setenv(JOB_VARIABLE, "77")
    assert read_tokens(folder) == {1: Told(1.5, 3)}


def test_a_full_disk_does_not_hurt_the_loop(monkeypatch, tmp_path):
    monkeypatch.setenv(LAB_VARIABLES[0], "1")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "a file" / "runtime"))
    (tmp_path / "a file").touch()
    done = subprocess.run(
        [sys.executable, "-c", LOOP], input="\n", capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("counted\n", "")


def test_what_killed_processes_left_is_removed(folder):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for process in (gone.pid, os.getpid()):
        write_private(file_of(process), '{"ticks": 1.0, "tokens": 1, "job": null}')
    (folder / "kernel-1.json").touch()
    file_of(gone.pid).with_suffix(f".{gone.pid}").touch()  # killed while it wrote
    remove_left_behind(folder)
    assert {file.name for file in folder.iterdir()} == {file_of(os.getpid()).name, "kernel-1.json"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100,
        '{"ticks": 1}',
        '{"ticks": 1, "tokens": 3}',
        '{"ticks": NaN, "tokens": 1, "job": null}',
        '{"ticks": 1, "tokens": -1, "job": null}',
        '{"ticks": 1, "tokens": 1e400, "job": null}',
        f'{{"ticks": 1, "tokens": {10**60}, "job": null}}',
        json.dumps({"ticks": 1.0, "tokens": 1, "job": None, "more": "x" * 300}),
    ],
)
def test_what_is_no_count_is_left_out(folder, text):
    write_private(file_of(1), text)
    write_private(file_of(2), '{"ticks": 1.5, "tokens": 3, "job": null}')
    assert read_tokens(folder) == {2: Told(1.5, 3)}


def test_files_of_others_are_left_out(folder):
    write_private(file_of(1), '{"ticks": 1.5, "tokens": 3, "job": null}')
    file_of(1).chmod(0o644)
    for name in ("workshop-tokens-x-host.json", "workshop-tokens-1-elsewhere.json", "workshop-tokens-.json"):
        write_private(folder / name, '{"ticks": 1.5, "tokens": 3, "job": null}')
    assert read_tokens(folder) == {}
    assert read_tokens(folder / "none") == {}
