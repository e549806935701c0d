"""Samples for a live strip, in the background, for as long as somebody sees it."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from workshop_utils.hardware.my_gpus import my_gpus
from workshop_utils.hardware.nvml_brief import BriefNvml
from workshop_utils.hardware.reading import Reading
from workshop_utils.monitor.host import Host, HostReading
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.subscription import Subscription

LOG = logging.getLogger(__name__)
# A strip in a page answers every thirty seconds: hearing an answer costs a kernel as much as sending a row.
SILENCE_SECONDS = 90.0
CHECK_SECONDS = 15.0


class HostWithoutGpu(Host):
    """The host, which is not read (it costs more than eight GPUs) while there is a GPU to be shown."""

    def __init__(self, gpus: "WatchedGpus") -> None:
        super().__init__()
        self._gpus = gpus

    def read(self) -> Reading[HostReading]:
        """Read the host, or say that nobody asked."""
        return Reading("unavailable", None, None) if self._gpus.seen else super().read()


class WatchedGpus(BriefNvml):
    """GPUs, and whether one of them is this process's: ``seen``."""

    seen = False

    def read(self) -> Reading[Any]:
        """Read the GPUs."""
        reading = super().read()
        self.seen = self.seen or bool(my_gpus(reading.data or ()))
        return reading


def brief_sampler() -> Sampler:
    """Return a sampler of what the strip shows and nothing else."""
    gpus = WatchedGpus()
    return Sampler(gpus, HostWithoutGpu(gpus))


class Patience:
    """Whether a front end is still there, although a busy kernel may hear its answers late.

    Silence counts only while the kernel's event loop turns, which hears messages; without a loop, always.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None, now: Callable[[], float] = time.monotonic):
        self._loop = loop
        self._now = now
        self._checked_at = now()
        self._turned = False
        self._silent = 0.0

    def heard(self) -> None:
        """A front end answered. Any thread may say so."""
        self._silent = 0.0

    def is_over(self) -> bool:
        """Say whether nobody has answered for too long; called often by one thread."""
        seconds = self._now() - self._checked_at
        if seconds >= CHECK_SECONDS:
            self._checked_at += seconds
            if self._loop is None or self._turned:
                self._silent += seconds
            self._turned = False
            if self._loop is not None:
                with suppress(RuntimeError):  # the kernel is ending
                    self._loop.call_soon_threadsafe(self._turn)
        return self._silent >= SILENCE_SECONDS

    def _turn(self) -> None:
        self._turned = True


class Feed:
    """Calls ``show`` with each sample from ``start`` to ``stop``, or until patience is over; may start again.

    In the thread of a sampler of its own, for another thread that woke up every second would cost as much as
    the GPUs. The sampler's threads are daemons: they keep no process alive.
    """

    def __init__(
        self,
        hz: float,
        show: Callable[[Sample], None],
        patience: Patience,
        make_sampler: Callable[[], Sampler] = brief_sampler,
    ) -> None:
        self._hz = hz
        self._show = show
        self._patience = patience
        self._make_sampler = make_sampler
        self._lock = threading.Lock()
        self._sampler: Sampler | None = None
        self._subscription: Subscription | None = None
        self._stopped = False

    @property
    def is_running(self) -> bool:
        """Whether samples are taken now."""
        return self._sampler is not None

    def start(self) -> None:
        """Begin, or begin again after a pause; nothing after ``stop``."""
        with self._lock:
            self._patience.heard()
            if self._sampler is None and not self._stopped:
                self._sampler = self._make_sampler()
                self._subscription = self._sampler.subscribe(self._hz, self._tick)

    def stop(self) -> None:
        """End for good. Does not wait."""
        self._stopped = True
        self._pause()

    def _tick(self) -> None:
        """Show a sample; called by the sampler's thread, which nothing may be raised in."""
        with self._lock:
            subscription = self._subscription
        sample = subscription.take() if subscription is not None else None
        try:
            if self._patience.is_over():
                self._pause()
            elif sample is not None and not self._stopped:
                self._show(sample)
        except Exception:  # the reader's cells go on without a strip
            LOG.exception("The live strip ended; please report this.")
            self.stop()

    def _pause(self) -> None:
        with self._lock:
            sampler, self._sampler = self._sampler, None
            subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
        if sampler is not None:
            # By another thread: the sampler's own may be the one that asks, and cannot wait for itself.
            threading.Thread(target=sampler.stop, name="workshop-live-strip-end", daemon=True).start()
