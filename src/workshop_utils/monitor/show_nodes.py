"""``with show_nodes():`` in a notebook shows the other nodes of its Slurm job in the panel meanwhile."""

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import IO

from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.nodes_file import nodes_file, read_nodes

COMMAND = ("-P", "-m", "workshop_utils", "nodes", "--end-with-input")
START_SECONDS = 30.0
STOP_SECONDS = 15.0
LOOK_SECONDS = 0.1


class ShownNodes:
    """``workshop nodes`` in a process of its own, which no busy kernel holds up; ends with the kernel."""

    def __init__(self) -> None:
        """Start it; WorkshopError with its reason where it cannot, such as outside of a Slurm job."""
        file = nodes_file()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - kept until stop()
        # A session of its own: interrupting a cell signals all of the kernel's group.
        self._process = subprocess.Popen(
            [sys.executable, *COMMAND], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            found = read_nodes(file)
            if found is not None and found.pid == self._process.pid:
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise WorkshopError(self._reason())
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """End it and wait until no collector is left; harmless when it has ended."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
                return

    def __enter__(self) -> "ShownNodes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _reason(self) -> str:
        self._errors.seek(0)
        said = self._errors.read(1 << 14).decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        return (
            said.removeprefix("workshop nodes: ") or f"`workshop nodes` did not start in {START_SECONDS:g} s."
        )


def show_nodes() -> ShownNodes:
    """Show the other nodes until the block ends, or until ``stop()`` of what this returns.

    Raises WorkshopError outside of a Slurm job of several nodes.
    """
    return ShownNodes()
