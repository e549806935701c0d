"""Tokens a second and joules a token of the decode loops of this machine that run now, all together."""

import time
from collections import deque
from collections.abc import Callable
from statistics import fmean

from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.token_energy import WINDOW_SECONDS, TokenRate
from workshop_utils.monitor.tokens_file import Told, read_tokens, tokens_file

# What the driver says of power is a mean of the second before.
POWER_SECONDS = 1.0
# A loop may hand its GPU many steps at once: what it reports in less is no rate. A beat may be early.
LEAST_SECONDS = 0.9


class TokenRates:
    """The rates of the last ten seconds, from the first report in them to the last, all loops together.

    Joules are the power of all of this job's GPUs over that time, whatever else runs on them.
    """

    def __init__(
        self, history: Callable[[float], tuple[Sample, ...]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = tokens_file(0).parent
        self._history = history
        self._now = now
        self._told: dict[int, deque[Told]] = {}
        self._changed_at = 0

    def read(self) -> TokenRate | None:
        """Return what the loops have made until now; None while nothing decodes."""
        since = self._now() - WINDOW_SECONDS
        self._take(since)
        loops = [told for told in self._told.values() if len(told) > 1]
        if not loops:
            return None
        first, last = min(told[0].ticks for told in loops), max(told[-1].ticks for told in loops)
        if last - first < LEAST_SECONDS:
            return None
        per_second = sum(told[-1].tokens - told[0].tokens for told in loops) / (last - first)
        watts = self._watts(first, last)
        return TokenRate(per_second, None if watts is None else watts / per_second)

    def _take(self, since: float) -> None:
        """Keep each loop's reports of the window; one that begins anew, or ended, has none before."""
        changed_at = self._folder.stat().st_mtime_ns if self._folder.is_dir() else 0
        if changed_at == self._changed_at and not self._told:
            return  # a folder that nobody writes to is not listed every second
        self._changed_at = changed_at
        held, self._told = self._told, {}
        for process, told in read_tokens(self._folder).items():
            if since <= told.ticks <= self._now():
                before = held.get(process, deque())
                if before and (told.tokens < before[-1].tokens or told.ticks < before[-1].ticks):
                    before.clear()
                if not before or told.tokens > before[-1].tokens:
                    before.append(told)
                while before and before[0].ticks < since:
                    before.popleft()
                self._told[process] = before

    def _watts(self, first: float, last: float) -> float | None:
        """Return the mean power of this job's GPUs between two moments; None where one does not tell it."""
        history = self._history(WINDOW_SECONDS + POWER_SECONDS)
        found = [watts_of(each) for each in history if first <= each.ticks - POWER_SECONDS <= last]
        known = [watts for watts in found if watts is not None]
        return fmean(known) if known and len(known) == len(found) else None


def watts_of(sample: Sample) -> float | None:
    """Return the power of all of this job's GPUs; None where there is none or one does not tell it."""
    held = sample.my_gpus
    mine = [gpu.power_watts for gpu in sample.gpus.data or () if held is None or gpu.index in held]
    known = [watts for watts in mine if watts is not None]
    return sum(known) if known and len(known) == len(mine) else None
