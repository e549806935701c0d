"""``workshop record`` around a command: signals, a full disk, names that meet."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workshop_utils.measure.record_command import PASSED_ON, passed_on
from workshop_utils.monitor import trace_writer as trace_module
from workshop_utils.monitor.trace import read_trace
from workshop_utils.monitor.trace_writer import default_names, open_new

RECORD = [sys.executable, "-m", "workshop_utils", "record"]
CAUGHT = """
import signal, sys, time
signal.signal({0}, lambda *_: sys.exit(7))
print("up", flush=True)
time.sleep(60)
"""
FULL = """
import sys
from workshop_utils.errors import WorkshopError
from workshop_utils.measure.recording import record
try:
    with record("t.ndjson", 10) as recording:
        recording.mark("much " * 1000)
        if len(sys.argv) > 1:
            1 / 0
except (WorkshopError, ZeroDivisionError, OSError) as error:
    print(type(error).__name__, error)
"""


def small_disk() -> None:
    """Let no file of this process grow over 600 bytes, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))


def record(
    folder: Path, script: str, *, out: bool = True, before: Callable[[], None] | None = None, **env: str
) -> "subprocess.CompletedProcess[str]":
    name = ["--out", "t.ndjson"] if out else []
    return subprocess.run(
        [*RECORD, *name, "--", sys.executable, "-c", script], cwd=folder, env=os.environ | env,
        preexec_fn=before, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGCONT"])
def test_a_signal_reaches_the_command_which_ends_as_it_likes(tmp_path: Path, number: str) -> None:
    process = subprocess.Popen(
        [*RECORD, "--out", "t.ndjson", "--", sys.executable, "-c", CAUGHT.format(f"signal.{number}")],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.Signals[number])
    assert process.wait(20) == 7
    assert read_trace(tmp_path / "t.ndjson").end is not None


def test_a_signal_before_the_start_is_handed_on_after_it_and_one_after_the_end_does_nothing() -> None:
    before = {number: signal.getsignal(number) for number in PASSED_ON}
    with passed_on() as started:
        os.kill(os.getpid(), signal.SIGUSR1)
        process = subprocess.Popen(["sleep", "60"])
        started(process)
        assert process.wait(20) == -signal.SIGUSR1
        os.kill(os.getpid(), signal.SIGHUP)
    assert {number: signal.getsignal(number) for number in PASSED_ON} == before


def test_what_nohup_ignores_the_command_ignores(tmp_path: Path) -> None:
    script = "import os, signal; os.kill(os.getppid(), 1); print(signal.getsignal(1).name)"
    done = record(tmp_path, script, before=lambda: void(signal.signal(signal.SIGHUP, signal.SIG_IGN)))
    assert (done.returncode, done.stdout) == (0, "SIG_IGN\n")


def void(_result: object) -> None: ...


def test_on_a_full_disk_the_command_keeps_its_exit_code(tmp_path: Path) -> None:
    done = record(tmp_path, "import sys; sys.exit(3)", before=small_disk)
    assert done.returncode == 3
    assert "workshop record: t.ndjson is not complete (File too large); free some space." in done.stderr
    assert "Errno" not in done.stderr


def test_a_trace_that_vanishes_costs_no_exit_code(tmp_path: Path) -> None:
    done = record(tmp_path, "import os, sys; os.remove('t.ndjson'); sys.exit(3)")
    assert done.returncode == 3
    assert "cannot read the trace t.ndjson (No such file" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"), [([], "WorkshopError t.ndjson is not complete"), (["x"], "ZeroDivisionError")]
)
def test_a_block_on_a_full_disk_gets_one_sentence_or_its_own_exception(
    tmp_path: Path, words: list[str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, *words], cwd=tmp_path, preexec_fn=small_disk, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.startswith(said)) == (0, True), done


def test_tasks_that_slurm_starts_in_one_second_write_a_trace_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(record, tmp_path, "print('ran')", out=False, SLURM_PROCID=str(rank))
            for rank in (0, 1)
        ]
    assert [(run.result().returncode, run.result().stdout) for run in runs] == [(0, "ran\n")] * 2
    names = sorted(file.name.rpartition("-")[2] for file in tmp_path.iterdir())
    assert names == ["rank0.ndjson", "rank1.ndjson"]


def test_without_slurm_the_next_free_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(trace_module.datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Stopped":  # type: ignore[override]
            return cls(2026, 9, 21, 14, 13, 20)

    monkeypatch.setattr(trace_module, "datetime", Stopped)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: open_new(default_names()), range(8)))
    for _, out in opened:
        out.close()
    stem = "trace-20260921-141320"
    assert {str(file) for file, _ in opened} == {
        f"{stem}.ndjson", *(f"{stem}-{number}.ndjson" for number in range(2, 9))
    }  # fmt: skip
