"""A thread for the GPU driver alone: its calls may hang for minutes, and CPU and memory must go on."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from workshop_utils.hardware.reading import Reading
from workshop_utils.monitor.signal import Signal

LOG = logging.getLogger(__name__)
# A cold driver takes a second or two to start; after that, an older reading would no longer be true.
PATIENCE_SECONDS = 2.0
# Half a tick at the fastest rate: a healthy driver answers in under a millisecond.
BRIEF_SECONDS = 0.05
CLOSE_SECONDS = 0.5

T = TypeVar("T")


class DriverThread(Generic[T]):
    """Calls ``read`` and ``close`` in one daemon thread, which lives from the first reading to a ``close``.

    For one caller (the sampler's thread). Neither function may raise.
    """

    def __init__(self, read: Callable[[], Reading[T]], close: Callable[[], None]) -> None:
        self._read = read
        self._close = close
        self._lock = threading.Lock()
        self._asked = Signal()
        self._answered = Signal()
        self._thread: threading.Thread | None = None
        self._newest: Reading[T] | None = None
        self._asked_at: float | None = None  # None while no answer is owed
        self._closing = False
        self._logged = False

    def read(self) -> Reading[T]:
        """Return a reading of now, the newest one while the driver is slow, or for how long it has hung.

        Waits 0.05 s at most, two seconds where there is no reading yet, not at all for a driver that hangs.
        """
        with self._lock:
            self._closing = False
            if self._asked_at is None:
                self._ask()
            seconds = PATIENCE_SECONDS - self._owed_seconds()
            if self._newest is not None:
                seconds = min(seconds, BRIEF_SECONDS)
        self._wait_until(lambda: self._asked_at is None, seconds)
        with self._lock:
            if self._newest is not None and self._owed_seconds() < PATIENCE_SECONDS:
                return self._newest
            return self._hanging()

    def close(self) -> None:
        """Let the driver go and end the thread; a call that hangs does both as soon as it returns."""
        with self._lock:
            self._closing = self._thread is not None
        self._asked.give()
        self._wait_until(lambda: self._thread is None, CLOSE_SECONDS)

    def _wait_until(self, happened: Callable[[], bool], seconds: float) -> None:
        """Wait at most so long; the signal may also be one that came too late for an earlier wait."""
        end = time.monotonic() + seconds
        while not happened() and (remaining := end - time.monotonic()) > 0:
            self._answered.wait(remaining)

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="workshop-driver", daemon=True)
            self._thread.start()
        self._asked.give()

    def _owed_seconds(self) -> float:
        return 0.0 if self._asked_at is None else time.monotonic() - self._asked_at

    def _hanging(self) -> Reading[T]:
        if not self._logged:
            self._logged = True
            LOG.warning("The GPU driver has not answered for %g s; it is waited for.", PATIENCE_SECONDS)
        return Reading.missing(
            f"The GPU driver has not answered for {self._owed_seconds():.0f} s: run nvidia-smi in a terminal "
            "and, if that hangs as well, tell the machine's staff."
        )

    def _run(self) -> None:
        while True:
            if self._asked_at is not None:
                newest = self._read()
                with self._lock:
                    self._newest, self._asked_at = newest, None
                self._answered.give()
            elif not self._closing:
                self._asked.wait()
            elif self._has_closed():
                return

    def _has_closed(self) -> bool:
        """Close; False if somebody asks again meanwhile, for then the thread goes on."""
        with self._lock:
            self._closing = False
            self._newest = None
        self._close()
        with self._lock:
            if self._asked_at is not None:
                return False
            self._thread = None
        self._answered.give()
        return True
