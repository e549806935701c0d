"""One sampler reads the machine for everybody; readers share its newest sample and the last ten minutes.

The thread samples at the fastest rate that anyone asked for (1 Hz if nobody asked for more), and each
subscriber gets samples at its own rate. Nobody waits for the driver: NVML is called in a second thread, of
which the sampler takes the newest reading, so CPU and memory go on while a driver call hangs. When nobody
has looked for ten minutes the driver is let go, its thread ends and the sampler sleeps without a time-out, so
it costs nothing; the next look wakes it, and the pause stays a gap in the history.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from workshop_utils.hardware.nvml import Nvml
from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor.driver_thread import DriverThread
from workshop_utils.monitor.host import Host, HostReading
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.signal import Signal
from workshop_utils.monitor.subscription import FASTEST_HZ, SLOWEST_HZ, Subscription

LOG = logging.getLogger(__name__)
HISTORY_HZ = 1.0
HISTORY_SECONDS = 600
SLEEP_AFTER_SECONDS = 600.0
# A rate needs two readings: the time between them when the thread wakes up.
PRIMING_SECONDS = 0.1
FRESH_SECONDS = 3.0
# CPU use is an average over a second: reading it more often would say nothing new. A tick may be early.
HOST_SECONDS = 0.9
STOP_SECONDS = 3.0

T = TypeVar("T")


class Probe(Protocol[T]):
    """Something that is read; ``close`` forgets counters and releases the driver."""

    def read(self) -> Reading[T]:
        """Read now. Called by one thread only: the driver's for GPUs, the sampler's for the host."""

    def close(self) -> None:
        """Let go; the next ``read`` starts afresh."""


class Sampler:
    """The one sampler of a process; started by the first look, ended by ``stop``. Thread-safe."""

    def __init__(
        self,
        gpus: Probe[tuple[GpuReading, ...]] | None = None,
        host: Probe[HostReading] | None = None,
        sleep_after_seconds: float = SLEEP_AFTER_SECONDS,
    ) -> None:
        self._gpus = gpus or Nvml()
        self._driver = DriverThread[Any](lambda: self._guard("GPUs", self._gpus.read), self._gpus.close)
        self._host = host or Host()
        self._host_read_at = float("-inf")
        self._host_reading: Reading[Any] | None = None
        self._sleep_after = sleep_after_seconds
        self._condition = threading.Condition()  # for who waits for a sample
        self._looked = Signal()  # for the thread
        self._history: deque[Sample] = deque()
        self._latest: Sample | None = None
        self._subscriptions: list[Subscription] = []
        self._tick_seconds = 1 / HISTORY_HZ
        self._looked_at = float("-inf")
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._logged: set[str] = set()

    def latest(self, wait_seconds: float = 5.0) -> Sample | None:
        """Return a sample younger than three seconds; waits for one when the thread was asleep.

        None if none came in time (an overloaded machine) or after ``stop``. With ``wait_seconds=0`` it
        never waits, so an event loop may call it.
        """
        with self._condition:
            self._look()
            self._condition.wait_for(lambda: self._stopped or self._is_fresh(), wait_seconds)
            return self._latest if self._is_fresh() else None

    def history(self, seconds: float = HISTORY_SECONDS) -> tuple[Sample, ...]:
        """Return the samples of the last ``seconds`` at 1 Hz, oldest first, with gaps where nobody looked."""
        with self._condition:
            self._look()
            since = time.monotonic() - seconds
            return tuple(sample for sample in self._history if sample.ticks >= since)

    def subscribe(self, hz: float, wake: Callable[[], None]) -> Subscription:
        """Ask for samples at ``hz`` (0.2 to 10) until the subscription is closed.

        The thread calls ``wake`` when something may be taken, once a tick even if many subscriptions share
        it; it must return at once and not raise. Raises ValueError for a rate outside the range.
        """
        if not SLOWEST_HZ <= hz <= FASTEST_HZ:
            raise ValueError(f"hz={hz} is outside {SLOWEST_HZ} to {FASTEST_HZ}")
        subscription = Subscription(hz, wake, self._unsubscribe)
        with self._condition:
            self._subscriptions.append(subscription)
            self._set_tick()
            self._look()
        return subscription

    def stop(self, wait_seconds: float = STOP_SECONDS) -> None:
        """Wake who waits in ``latest``, end the threads and let the driver go.

        Waits no longer than asked for; a driver call that hangs keeps its daemon thread until it returns.
        """
        with self._condition:
            self._stopped = True
            self._looked.give()
            self._condition.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(wait_seconds)

    def _unsubscribe(self, subscription: Subscription) -> None:
        with self._condition:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
                self._set_tick()
                self._looked_at = time.monotonic()

    def _look(self) -> None:
        """Note that somebody looks. The caller holds the lock."""
        self._looked_at = time.monotonic()
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._run, name="workshop-sampler", daemon=True)
            self._thread.start()
        self._looked.give()

    def _is_fresh(self) -> bool:
        return self._latest is not None and time.monotonic() - self._latest.ticks < FRESH_SECONDS

    def _is_watched(self) -> bool:
        return bool(self._subscriptions) or time.monotonic() - self._looked_at < self._sleep_after

    def _set_tick(self) -> None:
        self._tick_seconds = 1 / max([HISTORY_HZ, *(subscription.hz for subscription in self._subscriptions)])

    def _run(self) -> None:
        while not self._stopped:
            if self._is_watched():
                self._sample_while_watched()
            else:
                self._looked.wait()

    def _sample_while_watched(self) -> None:
        """From waking up to falling asleep."""
        self._read()
        self._host_read_at = float("-inf")  # the first sample has rates since the reading just made
        tick = time.monotonic() - self._tick_seconds + PRIMING_SECONDS
        while (seconds := self._wait_for_next(tick)) is not None:
            # On the beat; from now on where that was more than a tick ago, so that no two samples meet.
            now = time.monotonic()
            tick = tick + seconds if now - tick < 2 * seconds else now
            self._publish(self._read(), seconds)
        self._driver.close()
        self._host.close()

    def _wait_for_next(self, tick: float) -> float | None:
        """Sleep to the next tick, which a new and faster subscriber brings forward; None ends it."""
        while self._is_watched() and not self._stopped:
            seconds = self._tick_seconds
            remaining = tick + seconds - time.monotonic()
            if remaining <= 0:
                return seconds
            self._looked.wait(remaining)
        return None

    def _read(self) -> Sample:
        gpus = self._driver.read()
        wall, now = time.time(), time.monotonic()
        if self._host_reading is None or now - self._host_read_at >= HOST_SECONDS:
            self._host_reading = self._guard("CPU and memory", self._host.read)
            self._host_read_at = now
        return Sample(wall, now, gpus, self._host_reading)

    def _guard(self, what: str, read: Callable[[], Reading[Any]]) -> Reading[Any]:
        """One provider that fails in a way nobody thought of hides no other."""
        try:
            return read()
        except Exception as error:
            reason = f"The {what} could not be read ({type(error).__name__}: {error}); please report this."
            if reason not in self._logged:
                self._logged.add(reason)
                LOG.exception("%s", reason)
            return Reading.missing(reason)

    def _publish(self, sample: Sample, tick_seconds: float) -> None:
        with self._condition:
            self._follow_clock(sample)
            self._latest = sample
            self._remember(sample)
            due = [each for each in self._subscriptions if each.offer(sample, tick_seconds)]
            self._condition.notify_all()
        for wake in {each.wake for each in due}:
            wake()

    def _follow_clock(self, sample: Sample) -> None:
        """Where the wall clock was set back, move the history with it; distances stay those of ``ticks``."""
        before = self._latest
        if before is not None and sample.time <= before.time:
            jump = sample.time - before.time - (sample.ticks - before.ticks)
            self._history = deque(replace(each, time=each.time + jump) for each in self._history)

    def _remember(self, sample: Sample) -> None:
        """Keep one sample a second (a tenth early is in time) and forget what is older than the history."""
        if not self._history or sample.ticks - self._history[-1].ticks >= 0.9 / HISTORY_HZ:
            self._history.append(sample)
        while self._history[0].ticks < sample.ticks - HISTORY_SECONDS:
            self._history.popleft()
