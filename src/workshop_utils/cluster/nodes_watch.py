"""Runs the collectors of the other nodes and keeps the panel's file new, until somebody ends it."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from workshop_utils.cluster.nodes_step import OtherNodesOfJob, step_command, step_environment
from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.collector import BEAT_SECONDS
from workshop_utils.monitor.node_reading import LONGEST_LINE_BYTES, LONGEST_SENTENCE, Assembly, NodeReading
from workshop_utils.monitor.nodes_file import NodeFigures, OtherNodes, write_nodes

WRITE_SECONDS = 1.0
# The collectors end within two seconds of their input; srun reports that, and is not waited for much longer.
END_SECONDS = 4.0
# First its input alone is closed.
ENDING_SIGNALS = (None, signal.SIGTERM, signal.SIGKILL)
READ_BYTES = 1 << 16
STANDARD_INPUT = 0
ENDINGS = {
    signal.SIGINT: "was stopped (Ctrl-C)",
    signal.SIGTERM: "was ended (SIGTERM), as Slurm does at the end of a job",
    signal.SIGHUP: "was ended with its terminal",
}
STARTER_GONE = "was ended by the notebook or program that started it, or together with it"


class NodesWatch:
    """One srun and the file; ``run`` returns when it has ended, and then no collector is left.

    Whatever becomes of this process, the collectors' input ends with it, and so do they.
    """

    def __init__(
        self, others: OtherNodesOfJob, file: Path, told: Callable[[str, NodeReading], None] | None = None
    ) -> None:
        """``told`` is given each node's readings as they come."""
        self._others = others
        self._file = file
        self._told = told
        self._nodes = {name: NodeFigures(name) for name in others.names}
        self._assemblies = {name: Assembly() for name in others.names}
        self._said: deque[str] = deque(maxlen=3)  # by srun
        self._why: str | None = None
        self._started_at = time.time()

    def run(self, *, end_with_input: bool = False) -> None:
        """Watch until a signal, the end of srun or, if asked for, of standard input.

        WorkshopError where srun ended by itself, with what it said, or the file cannot be written.
        """
        self._write(None)
        with _signals(self._end) as woken, self._srun() as process:
            self._follow(process, woken, end_with_input)
            said = f", which said: {' '.join(self._said)}" if self._said else ""
            why = self._why
            # Before srun has gone, which takes seconds: whoever starts another watch meanwhile shall know.
            self._end_file(why or f"lost its srun{said}")
        if why is None:
            raise WorkshopError(f"srun has ended by itself{said}")

    def _end_file(self, why: str) -> None:
        self._write(f"The figures of the other nodes have ended: `workshop nodes` {why}."[:LONGEST_SENTENCE])

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._why = self._why or ENDINGS[signal.Signals(number)]

    @contextlib.contextmanager
    def _srun(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Start it in a session of its own: Ctrl-C is ours, and srun's own answer to it is to ask again."""
        try:
            process = subprocess.Popen(
                step_command(self._others), env=step_environment(), start_new_session=True, bufsize=0,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise WorkshopError(f"srun cannot be run ({error.strerror}); load Slurm's module.") from error
        try:
            yield process
        finally:
            for number in ENDING_SIGNALS:
                if number is not None:
                    process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    # Closes its input first, at which the collectors end.
                    process.communicate(timeout=END_SECONDS)
                    break

    def _follow(self, process: "subprocess.Popen[bytes]", woken: int, end_with_input: bool) -> None:
        """Take lines, send beats and write the file."""
        beats, out, errors = (pipe.fileno() for pipe in _pipes(process))
        os.set_blocking(beats, False)
        lines, words = _Lines(), _Lines()
        next_write = next_beat = time.monotonic()
        with selectors.PollSelector() as selector:  # epoll takes no file, as /dev/null
            for source in (out, errors, woken, *([STANDARD_INPUT] if end_with_input else [])):
                selector.register(source, selectors.EVENT_READ)
            open_outputs = 2
            while self._why is None and open_outputs:
                now = time.monotonic()
                if now >= next_beat:
                    next_beat = now + BEAT_SECONDS
                    # Nobody takes it: srun is gone or held up, which its output will tell.
                    with contextlib.suppress(BlockingIOError, BrokenPipeError):
                        os.write(beats, b"\n")
                if now >= next_write:
                    next_write = now + WRITE_SECONDS
                    self._write(None)
                for key, _ in selector.select(max(0.0, min(next_write, next_beat) - now)):
                    content = os.read(key.fd, READ_BYTES)
                    if key.fd == out:
                        self._take(lines.of(content))
                    elif key.fd == errors:
                        self._say(words.of(content))
                    elif key.fd == STANDARD_INPUT and not content:
                        self._why = STARTER_GONE
                    if not content:
                        selector.unregister(key.fd)
                        open_outputs -= key.fd in (out, errors)

    def _take(self, lines: Iterator[bytes]) -> None:
        for line in lines:
            try:
                row = json.loads(line)
                name = row["node"]
                reading = self._assemblies[name].take(row)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # what a site's prologue prints, and what a lost piece leaves
            if reading is not None:
                self._nodes[name] = self._nodes[name].with_reading(reading, time.time())
                if self._told is not None:
                    self._told(name, reading)

    def _say(self, lines: Iterator[bytes]) -> None:
        """Pass on what srun says, and keep the last of it for the reader who asks why it ended."""
        for line in lines:
            words = line.decode("utf-8", "replace").strip()
            if words:
                self._said.append(words)
                print(words, file=sys.stderr, flush=True)

    def _write(self, ended: str | None) -> None:
        nodes, job = tuple(self._nodes.values()), self._others.job
        found = OtherNodes(job, os.getpid(), self._started_at, time.time(), ended, nodes)
        write_nodes(self._file, found)


def _pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ValueError("srun was started without pipes")
    return process.stdin, process.stdout, process.stderr


class _Lines:
    """Whole lines from pieces; a line that is longer than a collector's is no line of one."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, piece: bytes) -> Iterator[bytes]:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        self._rest = self._rest[: LONGEST_LINE_BYTES + 1]
        yield from (line for line in whole if len(line) <= LONGEST_LINE_BYTES)


@contextlib.contextmanager
def _signals(end: Callable[[int, FrameType | None], None]) -> Iterator[int]:
    """Let ``end`` take the signals that end a command; yields a descriptor that they make readable."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, end) for number in ENDINGS}
    woken = signal.set_wakeup_fd(writer)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
