"""Work that can wait while a reader drags a slider."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

# How long the controls must rest before the rest is worked out, and the gap between two steps in seconds: a
# kernel answers messages in it.
PAUSE, GAP = 0.25, 0.002


class Later:
    """Runs an iterator step by step on the kernel's event loop; a new one takes the place of the old.

    A newer kernel handles what controls send in a thread of its own, so a cell may ask for the end meanwhile.
    """

    def __init__(self) -> None:
        self._steps: Iterator[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lock = threading.RLock()

    def start(self, steps: Iterator[Any]) -> None:
        """Run ``steps`` after a pause, and at once where there is no event loop, as in a script."""
        with self._lock:
            self._stop_timer()
            self._steps = steps
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self.finish()
                return
            self._timer = loop.call_later(PAUSE, self._step, steps, loop)

    def finish(self) -> None:
        """Run what is left now."""
        with self._lock:
            self._stop_timer()
            steps, self._steps = self._steps, None
            for _ in steps or ():
                pass

    def _step(self, steps: Iterator[Any], loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            if steps is not self._steps:
                return
            try:
                next(steps)
            except StopIteration:
                self._steps = None
                return
            self._timer = loop.call_later(GAP, self._step, steps, loop)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
