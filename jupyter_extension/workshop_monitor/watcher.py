"""The warnings of the stream: watched while a client looks and, where a reader wants it, while none does."""

import json
from collections.abc import Callable

from workshop_monitor.attribution import Attribution
from workshop_utils.monitor.sample import STREAM_VERSION, Sample
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.subscription import Subscription
from workshop_utils.monitor.warning_settings import WarningSettings
from workshop_utils.monitor.warnings import ActiveWarning, Watch

WATCH_HZ = 1.0


class Watcher:
    """One watch for all clients of a server. They are one reader's, whose settings they send; the last count.

    Its subscription is one beside the clients', so that a slow client delays no warning. All runs on the
    event loop but what the sampler does with the subscription.
    """

    def __init__(self, attribution: Attribution) -> None:
        self._attribution = attribution
        self._watch = Watch()
        self._subscription: Subscription | None = None
        self._told: tuple[ActiveWarning, ...] = ()
        self.frame = NO_WARNINGS

    def use(self, settings: WarningSettings) -> None:
        """Judge by these from now on."""
        self._watch.use(settings)

    def follow(self, sampler: Sampler, wake: Callable[[], None]) -> None:
        """Take samples from now on, and those of the history that were missed."""
        if self._subscription is not None:
            return
        self._subscription = sampler.subscribe(WATCH_HZ, wake)
        for sample in sampler.history():
            self._watch.take(sample, self._attribution.owners)
        self._tell()

    def rest(self) -> None:
        """Let the sampler fall asleep as nobody looks, unless an idle GPU is to be told of even then."""
        settings = self._watch.settings
        armed = settings.watch_alone and settings.idle_minutes is not None
        if self._subscription is not None and not armed:
            self._subscription.close()
            self._subscription = None

    def look(self) -> None:
        """Judge the newest sample, if there is one that was not judged yet."""
        sample: Sample | None = self._subscription.take() if self._subscription is not None else None
        if sample is not None:
            self._attribution.look(sample)
            self._watch.take(sample, self._attribution.owners)
            if self._watch.warnings != self._told:
                self._tell()

    def _tell(self) -> None:
        self._told = self._watch.warnings
        self.frame = frame_of(self._told)


def frame_of(warnings: tuple[ActiveWarning, ...]) -> str:
    return json.dumps(
        {"version": STREAM_VERSION, "kind": "warnings", "warnings": [vars(each) for each in warnings]}
    )


NO_WARNINGS = frame_of(())
