"""Joules per token while a decode loop runs: tokens that were reported beside what the GPUs used.

Energy is power over time: the driver's own counter costs 6 ms of CPU time a call (H200), which a kernel that
decodes would feel every second. Both are taken from the first report of the last seconds to the last one,
from fence post to fence post, so that a loop which reports every few seconds is not overrated and one that
has just begun not underrated.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from workshop_utils.hardware.reading import GpuReading
from workshop_utils.monitor.tokens import rate_words

WINDOW_SECONDS = 10.0
# Without samples for longer, power cannot be integrated.
LONGEST_STEP_SECONDS = 10.0
POWER = "integrated power"


@dataclass(frozen=True)
class TokenRate:
    """Of the last seconds; ``joules_per_token`` None where a GPU does not report its power."""

    tokens_per_second: float
    joules_per_token: float | None

    def __str__(self) -> str:
        return rate_words(self.tokens_per_second, self.joules_per_token, POWER)


@dataclass(frozen=True)
class _Point:
    """``joules`` are those since the point before; None where they are unknown."""

    ticks: float
    tokens: int
    joules: float | None


class TokenEnergy:
    """Given every sample in turn by one thread."""

    def __init__(self) -> None:
        self._points: deque[_Point] = deque()
        self._before: dict[int, GpuReading] = {}
        self._before_ticks = float("-inf")

    def add(self, ticks: float, gpus: Sequence[GpuReading], tokens: int) -> TokenRate | None:
        """Add a sample of my GPUs and all tokens so far; return the rate, None if none were made lately.

        ``ticks`` are seconds of the monotonic clock.
        """
        joules = self._energy(ticks, gpus)
        self._before, self._before_ticks = {gpu.index: gpu for gpu in gpus}, ticks
        self._points.append(_Point(ticks, tokens, joules))
        while self._points[0].ticks < ticks - WINDOW_SECONDS:
            self._points.popleft()
        return self._rate()

    def _energy(self, ticks: float, gpus: Sequence[GpuReading]) -> float | None:
        """Return what all GPUs used since the sample before; None where that is not known."""
        seconds = ticks - self._before_ticks
        total = 0.0
        for gpu in gpus:
            before = self._before.get(gpu.index)
            if before is None or before.power_watts is None or gpu.power_watts is None:
                return None
            total += seconds * (before.power_watts + gpu.power_watts) / 2
        return total if gpus and seconds <= LONGEST_STEP_SECONDS else None

    def _rate(self) -> TokenRate | None:
        points = list(self._points)
        reports = [at for at in range(1, len(points)) if points[at].tokens > points[at - 1].tokens]
        if not reports:
            return None
        first, last = reports[0], reports[-1]
        if first == last:
            first -= 1
        seconds = points[last].ticks - points[first].ticks
        tokens = points[last].tokens - points[first].tokens
        steps = points[first + 1 : last + 1]
        known = [step.joules for step in steps if step.joules is not None]
        joules = sum(known) if len(known) == len(steps) else None
        return TokenRate(tokens / seconds, None if joules is None else joules / tokens)
