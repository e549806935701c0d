"""Waking one thread from another, at the price of one system call: a lock that one side gives back."""

import contextlib
import threading


class Signal:
    """Wakes the one thread that waits. Given twice before somebody waits, it counts once.

    ``threading.Event`` and ``Condition`` make a lock for each wait and hand the interpreter to and fro more
    often: ten times a second on a cold cache, that was a third of what the sampler cost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def give(self) -> None:
        """Let the thread go on that waits, or that waits next."""
        with contextlib.suppress(RuntimeError):  # it was given and not taken yet
            self._lock.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for it, at most so long; True if it came."""
        return self._lock.acquire(timeout=-1 if seconds is None else max(0.0, seconds))
