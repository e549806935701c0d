"""One long step, shown as one short line with the time it takes, and its output kept for when it fails."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from workshop_utils.errors import WorkshopError

# On a terminal the line moves; in a log file a new line comes this often.
TERMINAL_SECONDS = 0.5
LOG_SECONDS = 20.0
WIDTH = 100
# pip says these of an old setuptools, and then nothing for the minute in which it copies files.
OF_THE_OLD = re.compile(r"\s*(Attempting uninstall|Found existing|Uninstalling|Successfully uninstalled)")
# With everything pinned there is nothing to choose: pip would search for hours and find nothing.
HOPELESS = "pip is looking at multiple versions"

# A sign in pip's, uv's or npm's output -> what it means and what to do. The first that is found counts, so
# a full disk goes before the network: it breaks downloads too.
CAUSES = (
    (
        r"No space left on device|Disk quota exceeded|ENOSPC|EDQUOT",
        "the disk or your quota is full; free some space, or name another folder with WORKSHOP_VENV "
        "(and WORKSHOP_CACHE for caches)",
    ),
    (
        r"NewConnectionError|NameResolutionError|name resolution|Network is unreachable|ConnectTimeout"
        r"|Read timed out|ProxyError|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|Failed to fetch|dns error",
        "the package index does not answer; the first start needs a network (later ones do not), so on a "
        "cluster run `make lab` once on a login node",
    ),
    (
        HOPELESS,
        "the pinned versions do not fit this Python or packages that it brings; name another with PYTHON=",
    ),
    (
        r"Permission denied|EACCES|Read-only file system",
        "a folder cannot be written; name another with WORKSHOP_VENV",
    ),
)  # fmt: skip


def run_step(title: str, command: Sequence[str], log: Path, environment: dict[str, str]) -> None:
    """Run one command behind one line of progress; ``WorkshopError`` in one sentence when it fails."""
    started = time.monotonic()
    with log.open("a", encoding="utf-8") as record, Ticker(title, started) as ticker:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, encoding="utf-8", errors="replace", env=environment,
        )  # fmt: skip
        lines = []
        for line in process.stdout or ():
            record.write(line)
            lines.append(line)
            if not OF_THE_OLD.match(line):
                ticker.news = line.strip()
            if HOPELESS in line:
                process.terminate()
        if process.wait():
            raise WorkshopError(f"{title} failed: {explain(''.join(lines))}. The whole output: {log}")


def explain(output: str) -> str:
    """Return in words why an installer failed: a known cause, else its own last error line."""
    for sign, meaning in CAUSES:
        if re.search(sign, output):
            return meaning
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # A build inside pip ends in an exception, and pip's own last line only says that it failed.
    exceptions = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    errors = [line for line in lines if line.lower().startswith(("error", "fatal"))]
    return (exceptions or errors or lines or ["it said nothing"])[-1].rstrip(".")


class Ticker:
    """Shows title, elapsed time and the step's latest line while the ``with`` block runs."""

    def __init__(self, title: str, started: float, stream: TextIO | None = None) -> None:
        """``started`` is a ``time.monotonic()``; the stream is standard error where none is given."""
        self.title, self.started, self.news = title, started, ""
        self.stream = stream or sys.stderr
        self.moves = self.stream.isatty()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.tick, daemon=True)

    def line(self) -> str:
        """Return the current line, cut to a terminal's width."""
        seconds = int(time.monotonic() - self.started)
        return f"{self.title} · {seconds // 60}:{seconds % 60:02} · {self.news}"[:WIDTH]

    def tick(self) -> None:
        """Show the line again and again, until the block ends."""
        while not self.done.wait(TERMINAL_SECONDS if self.moves else LOG_SECONDS):
            self.show(self.line())

    def show(self, text: str, end: str = "") -> None:
        """Write one line: over the last one on a terminal, below it in a log."""
        self.stream.write(f"\r{text:<{WIDTH}}{end}" if self.moves else f"{text}\n")
        self.stream.flush()

    def __enter__(self) -> "Ticker":
        self.show(f"{self.title} …")
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.thread.join()
        self.news = "not finished" if error[0] else "finished"
        self.show(self.line(), end="\n")
