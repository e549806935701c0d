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
from dataclasses import asdict, dataclass
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.private_file import read_private, runtime_file, write_private

# What Jupyter leaves in the environment of kernels and of terminals.
LAB_VARIABLES = ("JPY_PARENT_PID", "JUPYTER_SERVER_URL")
BEAT_SECONDS = 1.0
# A loop that pauses for longer than this starts its thread anew.
QUIET_SECONDS = 30.0
MOST_BYTES = 200
MOST_FILES = 64
MOST_TOKENS = 1 << 53


@dataclass(frozen=True)
class Told:
    """All ``tokens`` that a process has reported, and when the last, in seconds of the monotonic clock."""

    ticks: float
    tokens: int


class Teller:
    """Tells the panel what ``total`` returns, from a thread of its own, for as long as that grows."""

    def __init__(self, total: Callable[[], Told]) -> None:
        self._total = total
        self._lock = threading.Lock()
        self._process: int | None = None  # whose thread runs: a fork takes none along

    def wake(self) -> None:
        """Say that there are new tokens. Returns at once."""
        if self._process != os.getpid():
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._process == os.getpid():
                return
            self._process = os.getpid()
        if any(name in os.environ for name in LAB_VARIABLES):
            threading.Thread(target=self._run, name="workshop-tokens", daemon=True).start()

    def _run(self) -> None:
        try:
            file = tokens_file(os.getpid())
            remove_left_behind(file.parent)
            atexit.register(file.unlink, missing_ok=True)
            self._follow(file)
            file.unlink(missing_ok=True)
        except (OSError, WorkshopError):
            return  # a full disk or no Jupyter: the loop goes on, and the panel says nothing of it

    def _follow(self, file: Path) -> None:
        told, told_at = None, time.monotonic()
        while True:
            total, now = self._total(), time.monotonic()
            if total != told:
                write_private(file, json.dumps(asdict(total)))
                told, told_at = total, now
            with self._lock:
                if now - told_at > QUIET_SECONDS and self._total() == told:
                    self._process = None
                    return
            time.sleep(BEAT_SECONDS)


def tokens_file(process: int) -> Path:
    """Return where a process of this machine tells its tokens; WorkshopError without Jupyter."""
    return runtime_file(f"tokens-{process}")


def read_tokens(folder: Path) -> dict[int, Told]:
    """Return what processes of this machine have told, by process, without what is damaged or not ours."""
    found = {}
    for process, file in _files(folder)[:MOST_FILES]:
        text = read_private(file, MOST_BYTES)
        told = None if text is None else _parse(text)
        if told is not None:
            found[process] = told
    return found


def remove_left_behind(folder: Path) -> None:
    """Remove the files of processes that were killed."""
    for process, file in _files(folder):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except OSError:  # another user's: the number was given away again
            continue


def _files(folder: Path) -> list[tuple[int, Path]]:
    before, after = tokens_file(0).name.split("0", 1)
    found = []
    for name in os.listdir(folder) if folder.is_dir() else ():
        number = name.removeprefix(before).removesuffix(after)
        if name == f"{before}{number}{after}" and number.isascii() and number.isdigit() and len(number) < 10:
            found.append((int(number), folder / name))
    return found


def _parse(text: bytes) -> Told | None:
    try:
        row = json.loads(text)
        ticks, tokens = float(row["ticks"]), int(row["tokens"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Told(ticks, tokens) if math.isfinite(ticks) and 0 <= tokens <= MOST_TOKENS else None
