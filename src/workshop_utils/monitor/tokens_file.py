"""Tokens that decode loops report, on their way to the panel: a private file for each process that has some.

Written once a second by a thread, while there are new ones, and only in what JupyterLab has started: kernels,
terminals, and the ranks below them.
"""

import atexit
import json
import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.private_file import read_private, runtime_file, write_private

# What Jupyter leaves in the environment of kernels and of terminals.
LAB_VARIABLES = ("JPY_PARENT_PID", "JUPYTER_SERVER_URL")
# Two jobs of one reader on a node share the folder, and have GPUs of their own.
JOB_VARIABLE = "SLURM_JOB_ID"
BEAT_SECONDS = 1.0
# A loop that pauses for longer than this starts its thread anew.
QUIET_SECONDS = 30.0
MOST_BYTES = 200
MOST_FILES = 64
MOST_TOKENS = 1 << 53
# How the file's name ends, and what ``write_private`` calls its draft.
JSON, DRAFT = ".json", ".{}"


@dataclass(frozen=True)
class Told:
    """All ``tokens`` that a process has reported, and when the last, in seconds of the monotonic clock."""

    ticks: float
    tokens: int


class Teller:
    """Tells the panel what ``total`` returns, from a thread of its own, for as long as that grows."""

    def __init__(self, total: Callable[[], Told]) -> None:
        self._total = total
        self._forget()
        # A child of a fork has neither the thread nor whoever held the lock.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._process: int | None = None  # whose thread runs
        self._tidy = False

    def wake(self) -> None:
        """Say that there are new tokens. Returns at once."""
        if self._process is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._process is not None:
                return
            self._process = os.getpid()
        if not any(name in os.environ for name in LAB_VARIABLES):
            return
        try:
            # Not in the thread: a child forked while a thread imports would wait for it for ever.
            file = tokens_file(os.getpid())
        except WorkshopError:  # no Jupyter
            return
        threading.Thread(target=self._run, args=(file,), name="workshop-tokens", daemon=True).start()

    def _run(self, file: Path) -> None:
        with suppress(OSError):
            remove_left_behind(file.parent)
        if not self._tidy:
            self._tidy = True
            atexit.register(self._remove, file, os.getpid())
        self._follow(file)

    def _follow(self, file: Path) -> None:
        told, told_at = None, time.monotonic()
        while True:
            total, now = self._total(), time.monotonic()
            if total != told:
                told_at = now
                with suppress(OSError):  # a full disk may have room at the next beat
                    write_private(file, json.dumps(asdict(total) | {"job": os.environ.get(JOB_VARIABLE)}))
                    told = total
            with self._lock:
                if now - told_at > QUIET_SECONDS and self._total() == told:
                    self._remove(file, os.getpid())
                    self._process = None
                    return
            time.sleep(BEAT_SECONDS)

    @staticmethod
    def _remove(file: Path, process: int) -> None:
        """A child that was forked ends by itself, and leaves its parent's file."""
        if os.getpid() == process:
            with suppress(OSError):
                file.unlink(missing_ok=True)


def tokens_file(process: int) -> Path:
    """Return where a process of this machine tells its tokens; WorkshopError without Jupyter."""
    return runtime_file(f"tokens-{process}")


def read_tokens(folder: Path) -> dict[int, Told]:
    """Return what processes of this job have told, by process, without what is damaged or not ours."""
    found, job = {}, os.environ.get(JOB_VARIABLE)
    for process, file in _files(folder, (JSON,))[:MOST_FILES]:
        text = read_private(file, MOST_BYTES)
        told = None if text is None else _parse(text, job)
        if told is not None:
            found[process] = told
    return found


def remove_left_behind(folder: Path) -> None:
    """Remove the files of processes that were killed, maybe while they wrote."""
    for process, file in _files(folder, (JSON, DRAFT)):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except OSError:  # another user's: the number was given away again
            continue


def _files(folder: Path, endings: tuple[str, ...]) -> list[tuple[int, Path]]:
    before, after = tokens_file(0).name.removesuffix(JSON).split("0", 1)
    found = []
    for name in os.listdir(folder) if folder.is_dir() else ():
        number = name.removeprefix(before).partition("-")[0]
        names = [f"{before}{number}{after}{ending.format(number)}" for ending in endings]
        if name in names and number.isascii() and number.isdigit() and len(number) < 10:
            found.append((int(number), folder / name))
    return found


def _parse(text: bytes, job: str | None) -> Told | None:
    try:
        row = json.loads(text)
        ticks, tokens, told_by = float(row["ticks"]), int(row["tokens"]), row["job"]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    good = math.isfinite(ticks) and 0 <= tokens <= MOST_TOKENS and told_by == job
    return Told(ticks, tokens) if good else None
