"""Runs that go wrong, with real ranks: all are gone within ten seconds, and the message says why."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launch_helpers import COMMAND, Marked, wait_until

from workshop_utils.parallel.launch.launcher import launch
from workshop_utils.parallel.launch.result import RunResult

# A rank that minds no polite signal, with a child in a session of its own that does not either.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
rank = int(os.environ["RANK"])
ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", ignoring], start_new_session={own_session})
time.sleep(0.5)
open(f"ready{{rank}}", "w").write(str(os.getpid()))
"""


def fault_seconds(result: RunResult, folder: Path) -> float:
    """Return how long after the fault, which touches a file, the run was over."""
    assert not result.finished
    return time.time() - (folder / "fault").stat().st_mtime


def test_a_killed_rank_is_named_and_the_stubborn_others_are_gone(
    write: Callable[..., Path], temporary: Path, marked: Marked, tmp_path: Path
) -> None:
    write(
        STUBBORN.format(own_session=True)
        + "if rank == 1:\n    open('fault', 'w')\n    os.kill(os.getpid(), 9)\ntime.sleep(600)\n"
    )
    result = launch("script.py", ranks=3)
    assert fault_seconds(result, tmp_path) < 10
    assert not marked.processes()
    assert result.outcome == "killed"
    assert result.logs is not None
    log = result.logs / "rank1.log"
    assert log.parent.parent == temporary
    assert result.message.startswith(
        "Rank 1 was ended by SIGKILL. All other ranks were ended. SIGKILL usually"
    )
    assert "memory limit of the job" in result.message
    assert str(log) in result.message
    assert log.exists()


def test_an_exception_is_told_with_the_scripts_own_line(
    write: Callable[..., Path], temporary: Path, marked: Marked, tmp_path: Path
) -> None:
    script = write(
        """
        import os, threading, time
        from workshop_utils.parallel.launch import notes

        def split(heads, ranks):
            raise ValueError(f"{heads} heads do not divide by {ranks}\\nand more")

        notes.hand_back({"before": 1})
        if os.environ["RANK"] == "0":
            open("handed", "w")
        else:
            while not os.path.exists("handed"):  # else this rank's end may overtake the other's start
                time.sleep(0.01)
            open("fault", "w")
            threading.Thread(target=time.sleep, args=(600,)).start()
            split(9, 2)
        time.sleep(600)
        """
    )
    command = [sys.executable, "-c", COMMAND, "run", "--ranks", "2", "--json", "script.py"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert time.time() - (tmp_path / "fault").stat().st_mtime < 10
    assert not marked.processes()
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["outcome"] == "failed"
    assert result["measurements"] == [{"rank": 0, "before": 1}, {"rank": 1, "before": 1}]
    expected = (
        "Rank 1 raised ValueError: 9 heads do not divide by 2 (line 5 of the script). All other ranks were"
    )
    assert result["message"].startswith(expected)
    log = Path(re.search(r"The full log is (\S+)\.$", result["message"])[1]).read_text(encoding="utf-8")
    assert log.startswith(
        f'Traceback (most recent call last):\n  File "{script}", line 15, in <module>\n    split(9, 2)\n'
    )
    assert "runpy" not in log
    assert "[rank 1] ValueError: 9 heads do not divide by 2" in done.stderr


def test_a_rank_out_of_memory_shows_predicted_and_used_of_each_gpu(
    write: Callable[..., Path], temporary: Path, marked: Marked, tmp_path: Path
) -> None:
    write(
        """
        import os, sys, time
        from types import SimpleNamespace
        from workshop_utils.parallel.launch import notes

        class OutOfMemoryError(RuntimeError):
            pass

        # As torch with a GPU that has 1 GiB of 80 left.
        cuda = SimpleNamespace(is_initialized=lambda: True, mem_get_info=lambda: (2**30, 80 * 2**30))
        sys.modules["torch"] = SimpleNamespace(cuda=cuda)
        rank = int(os.environ["RANK"])
        notes.memory(predicted_bytes=(70 + rank) * 2**30)
        if rank == 1:
            time.sleep(0.5)
            open("fault", "w")
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        notes.memory(used_bytes=60 * 2**30)
        time.sleep(600)
        """
    )
    result = launch("script.py", ranks=2)
    assert fault_seconds(result, tmp_path) < 10
    assert not marked.processes()
    assert result.outcome == "out_of_memory"
    assert result.message.startswith(
        "Rank 1 ran out of memory: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. All "
        "other ranks were ended. Per GPU: rank 0 predicted 70.0 GiB, used 60.0 GiB; "
        "rank 1 predicted 71.0 GiB, used 79.0 GiB, of 80.0 GiB there. Take a shorter context"
    )


def test_a_rank_that_never_arrives_is_named_beside_those_that_wait(
    write: Callable[..., Path], temporary: Path, marked: Marked, tmp_path: Path
) -> None:
    write(
        """
        import threading, time
        from workshop_utils.parallel.launch import notes

        ready = threading.Event()
        def beat():  # importing torch takes longer than the time-out
            while not ready.wait(0.3):
                notes.heartbeat()
        threading.Thread(target=beat).start()
        import torch
        import torch.distributed as dist
        dist.init_process_group("gloo")
        ready.set()
        notes.say(stage="prefill")
        if dist.get_rank() == 1:
            open("fault", "w")
            while True:
                time.sleep(1)
        with notes.waiting("all_reduce of layer 3"):
            dist.all_reduce(torch.ones(1))
        """
    )
    result = launch("script.py", ranks=2, timeout_seconds=4)
    assert 4 < fault_seconds(result, tmp_path) < 4 + 10
    assert not marked.processes()
    assert result.outcome == "timed_out"
    assert re.match(
        r"No rank said anything for 4 s \(--timeout\): "
        r"rank 0 has waited in all_reduce of layer 3 for [4-6] s; "
        r"rank 1 last said stage prefill [4-6] s ago and stands in line 17 of the script\. "
        r"A collective ends when every rank has called it: see why rank 1 does not\. All ranks were ended\.",
        result.message,
    ), result.message
    assert result.logs is not None
    assert str(result.logs) in result.message


def test_a_rank_that_is_killed_is_the_cause_not_the_one_that_lost_its_connection(
    write: Callable[..., Path], temporary: Path, marked: Marked, tmp_path: Path
) -> None:
    write(
        """
        import os, time
        import torch
        import torch.distributed as dist

        dist.init_process_group("gloo")
        dist.all_reduce(torch.ones(1))
        if dist.get_rank() == 1:
            open("fault", "w")
            os.kill(os.getpid(), 11)
        dist.all_reduce(torch.ones(1))
        """
    )
    result = launch("script.py", ranks=2)
    assert fault_seconds(result, tmp_path) < 10
    assert not marked.processes()
    assert result.message.startswith("Rank 1 was ended by SIGSEGV. ")


RUN_IN_A_KERNEL = """
from workshop_utils.parallel.launch.launcher import launch
try:
    launch("script.py", ranks=2)
except KeyboardInterrupt:
    print("KeyboardInterrupt went on")
"""
RUN = ["run", "--ranks", "2", "--json", "script.py"]


@pytest.mark.parametrize(
    ("code", "words", "how", "exit_code"),
    [
        (RUN_IN_A_KERNEL, [], signal.SIGINT, 0),
        (COMMAND, RUN, signal.SIGTERM, 130),
        (COMMAND, [word for word in RUN if word != "--json"], signal.SIGINT, 130),
        (COMMAND, RUN, signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["SIGINT", "SIGTERM", "SIGINT in a terminal", "SIGKILL"],
)
def test_a_launcher_that_is_ended_leaves_no_rank(
    write: Callable[..., Path], temporary: Path, marked: Marked, tmp_path: Path,
    code: str, words: list[str], how: signal.Signals, exit_code: int,
) -> None:  # fmt: skip
    # When the launcher is killed, torchrun ends the ranks by their sessions, and nobody looks further.
    own_session = how != signal.SIGKILL
    write(STUBBORN.format(own_session=own_session) + "time.sleep(600)\n")
    launcher = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: all((tmp_path / f"ready{rank}").exists() for rank in (0, 1)))
    assert len(marked.processes()) == 6  # launcher, torchrun, two ranks with a child each
    start = time.monotonic()
    launcher.send_signal(how)
    said, errors = launcher.communicate(timeout=20)
    marked.wait_until_gone(10 - (time.monotonic() - start))
    assert launcher.returncode == exit_code
    if how == signal.SIGINT and words:
        assert errors.endswith("Interrupted; all ranks were ended.\n")
    elif how == signal.SIGINT:
        assert said == "KeyboardInterrupt went on\n"
    if how == signal.SIGTERM:
        assert json.loads(said)["outcome"] == "interrupted"
    if how != signal.SIGKILL:
        assert not list(temporary.iterdir())


def test_torchrun_killed_takes_its_ranks_along_and_is_named(
    write: Callable[..., Path], temporary: Path, marked: Marked
) -> None:
    write("import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(600)\n")
    result = launch("script.py", ranks=2)
    assert not marked.processes()
    assert result.outcome == "failed"
    assert result.message.startswith(
        "torchrun, which holds the ranks, was ended by SIGKILL, and all ranks with"
    )


def test_an_interrupt_before_the_first_rank_has_started_leaves_nothing(
    write: Callable[..., Path], temporary: Path, marked: Marked
) -> None:
    write("open('started', 'w')\n")
    launcher = subprocess.Popen([sys.executable, "-c", RUN_IN_A_KERNEL], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: len(marked.processes()) == 2)
    os.kill(launcher.pid, signal.SIGINT)
    said, _ = launcher.communicate(timeout=10)
    assert said == "KeyboardInterrupt went on\n"
    assert not marked.processes()
    assert not Path("started").exists()


def test_ranks_do_not_outlive_launcher_and_torchrun_killed_together(
    write: Callable[..., Path], temporary: Path, marked: Marked
) -> None:
    write(
        """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open("agent" + os.environ["RANK"], "w").write(str(os.getppid()))
        time.sleep(600)
        """
    )
    launcher = subprocess.Popen([sys.executable, "-c", RUN_IN_A_KERNEL])
    wait_until(lambda: all(Path(f"agent{rank}").exists() for rank in (0, 1)))
    wait_until(lambda: Path("agent1").read_text(encoding="utf-8") != "")
    launcher.kill()
    os.kill(int(Path("agent1").read_text(encoding="utf-8")), signal.SIGKILL)
    launcher.wait()
    marked.wait_until_gone(2)
