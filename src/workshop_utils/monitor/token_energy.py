"""Joules per token while a decode loop runs: tokens that were reported beside what the GPUs used.

Both are taken from the first report of the last seconds to the last one, from fence post to fence post, so
that a loop which reports every few seconds is not overrated and one that has just begun not underrated.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from workshop_utils.hardware.reading import GpuReading
from workshop_utils.monitor.tokens import COUNTER, rate_words

WINDOW_SECONDS = 10.0
# Without samples for longer, power cannot be integrated.
LONGEST_STEP_SECONDS = 10.0
POWER = "integrated power"


@dataclass(frozen=True)
class TokenRate:
    """Of the last seconds; ``joules_per_token`` None where a GPU reports neither energy nor power."""

    tokens_per_second: float
    joules_per_token: float | None
    source: str

    def __str__(self) -> str:
        return rate_words(self.tokens_per_second, self.joules_per_token, self.source)


@dataclass(frozen=True)
class _Point:
    """``joules`` are those since the point before; None where they are unknown."""

    ticks: float
    tokens: int
    joules: float | None
    source: str


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
        joules, source = self._energy(ticks, gpus)
        self._before, self._before_ticks = {gpu.index: gpu for gpu in gpus}, ticks
        self._points.append(_Point(ticks, tokens, joules, source))
        while self._points[0].ticks < ticks - WINDOW_SECONDS:
            self._points.popleft()
        return self._rate()

    def _energy(self, ticks: float, gpus: Sequence[GpuReading]) -> tuple[float | None, str]:
        """Return what all GPUs used since the sample before, and how that is known."""
        seconds = ticks - self._before_ticks
        total, source = 0.0, COUNTER
        for gpu in gpus:
            before = self._before.get(gpu.index)
            if before is None or seconds > LONGEST_STEP_SECONDS:
                return None, ""
            if gpu.energy_joules is not None and before.energy_joules is not None:
                used = gpu.energy_joules - before.energy_joules
                if used < 0:  # the driver was loaded anew
                    return None, ""
                total += used
            elif gpu.power_watts is not None and before.power_watts is not None:
                total += seconds * (gpu.power_watts + before.power_watts) / 2
                source = POWER
            else:
                return None, ""
        return (total, source) if gpus else (None, "")

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
        source = POWER if any(step.source == POWER for step in steps) else COUNTER
        return TokenRate(tokens / seconds, None if joules is None else joules / tokens, source)
