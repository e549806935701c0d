"""The processes of a test, and the command as it is run."""

import time
from collections.abc import Callable

import psutil

MARK = "LAUNCH_TEST_MARK"
COMMAND = """
import sys
from workshop_utils import cli
cli.COMMANDS["run"] = ("workshop_utils.parallel.run_command", "run")
sys.exit(cli.main())
"""


class Marked:
    """All that a test starts inherits a mark in its environment, whatever session it makes for itself."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def wait_until_gone(self, seconds: float = 10) -> None:
        wait_until(lambda: not self.processes(), seconds)


def wait_until(true: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
