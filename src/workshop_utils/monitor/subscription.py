"""What one reader has asked for: a rate, and a slot for the newest sample."""

from collections import deque
from collections.abc import Callable

from workshop_utils.monitor.sample import Sample

FASTEST_HZ = 10.0
SLOWEST_HZ = 0.2


class Subscription:
    """A slot for one sample: a reader that falls behind finds the newest and misses those between."""

    def __init__(self, hz: float, wake: Callable[[], None], close: Callable[["Subscription"], None]) -> None:
        self.hz = hz
        self.wake = wake
        self._close = close
        self._slot: deque[Sample] = deque(maxlen=1)  # atomic: the thread puts, a reader takes
        self._due = float("-inf")

    def offer(self, sample: Sample, tick_seconds: float) -> bool:
        """Take the sample if this reader's turn has come, to within half a tick of the thread."""
        slack = tick_seconds / 2
        if sample.ticks < self._due - slack:
            return False
        self._due = max(self._due, sample.ticks - slack) + 1 / self.hz
        self._slot.append(sample)
        return True

    def take(self) -> Sample | None:
        """Return the newest sample not taken yet, or None. Never waits."""
        try:
            return self._slot.pop()
        except IndexError:
            return None

    def close(self) -> None:
        """Ask for no more samples."""
        self._close(self)
