"""Every case in a process of its own, one at a time on the device, the next one getting ready meanwhile."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop_utils.measure.bench_memory_case import MemoryCase

WORKER = "workshop_utils.measure.bench_memory_worker"
# Of what a process that died has said; the last lines hold the error.
LAST_LINE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case.

    ``outcome`` is measured, out_of_memory, failed (an error, or the process died) or timed_out, with a
    ``message`` unless measured. ``values``: bytes by name, one mapping a device, what is known of them.
    """

    case: MemoryCase
    outcome: str
    message: str | None
    values: tuple[Mapping[str, int], ...]
    seconds: float


class Child:
    """The process of one case. It may prepare at once and measures after ``go``."""

    def __init__(self, case: MemoryCase, device: str, folder: Path, worker: Sequence[str] = ()) -> None:
        self.case = case
        self._notes = folder / "notes.jsonl"
        self._log = folder / "log.txt"
        folder.mkdir()
        command = worker or (sys.executable, "-m", WORKER)
        # A session of its own: Ctrl-C reaches the parent only, which then ends the child.
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, json.dumps(case.as_json()), device, str(self._notes)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                env=child_environment(device),
            )  # fmt: skip

    def measure(self, limit_seconds: float) -> CaseResult:
        """Let it measure and wait for its end, at most ``limit_seconds``."""
        started = time.monotonic()
        self._say_go()
        try:
            self._process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            self.end()
            return self._unfinished("timed_out", f"stopped after {limit_seconds:g} s", started)
        notes = self._read_notes()
        if "outcome" not in notes:
            return self._unfinished("failed", f"the process ended {self._how_it_ended()}", started)
        values = tuple(notes["values"])
        return CaseResult(self.case, notes["outcome"], notes["message"], values, time.monotonic() - started)

    def end(self) -> None:
        """Kill it with all that it has started, and wait until it is gone; nothing if it has ended."""
        if self._process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _say_go(self) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the child has no standard input")
        try:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died while it prepared: its end says why

    def _unfinished(self, outcome: str, what: str, started: float) -> CaseResult:
        stage = self._read_notes().get("stage", "starting")
        return CaseResult(self.case, outcome, f"while {stage}: {what}", (), time.monotonic() - started)

    def _how_it_ended(self) -> str:
        code = self._process.returncode
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", as when the machine's memory is full" if name == "SIGKILL" else ""
            return f"by {name}{hint}"
        return f"with code {code}: {said[-LAST_LINE_CHARACTERS:] or 'it said nothing'}"

    def _read_notes(self) -> dict[str, Any]:
        """Return all notes together; a line that a killed process has not finished counts for nothing."""
        try:
            lines = self._notes.read_text(encoding="utf-8").split("\n")[:-1]
        except OSError:
            return {}
        return {name: value for line in lines for name, value in json.loads(line).items()}


def child_environment(device: str) -> dict[str, str]:
    """Return the environment of a child: no GPU for the CPU's cases, no bars, nothing asked of a hub.

    A child that prepares must not open the driver while another measures: torch then asks NVML for GPUs.
    """
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    quiet = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    return {**os.environ, **hidden, **quiet}


def spare_processes() -> int:
    """Return how many more children than one may get ready meanwhile: each takes a core and about 1.5 GB."""
    return min(3, max(0, (os.cpu_count() or 1) // 4 - 1))


def run_cases(
    cases: Sequence[MemoryCase], device: str, limit_seconds: float, worker: Sequence[str] = ()
) -> Iterator[CaseResult]:
    """Yield each case's result in order. However this ends, no child is left.

    ``device`` is cuda or cpu. ``worker`` is the command in place of the real worker, for tests.
    """
    children: list[Child] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            for index, _ in enumerate(cases):
                for upcoming in range(len(children), min(index + 2 + spare_processes(), len(cases))):
                    children.append(Child(cases[upcoming], device, folder / str(upcoming), worker))
                yield children[index].measure(limit_seconds)
                children[index].end()
        finally:
            for child in children:
                child.end()
