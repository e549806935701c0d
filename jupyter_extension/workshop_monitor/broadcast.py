"""From the sampler's thread to the sockets: one hop to the event loop a tick for all of them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from workshop_monitor.attribution import NOBODY, Attribution
from workshop_monitor.beside import Beside
from workshop_monitor.decoding import Decoding
from workshop_monitor.other_nodes import OtherNodes
from workshop_monitor.planned import Planned
from workshop_monitor.watcher import NO_WARNINGS, Watcher
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.subscription import Subscription
from workshop_utils.monitor.token_rates import TokenRates
from workshop_utils.monitor.warning_settings import WarningSettings


class Client(Protocol):
    """A socket that can be sent to."""

    def is_ready(self) -> bool:
        """Tell whether the last frame has left."""

    def send(self, frame: str) -> None:
        """Send a frame without waiting for it to leave."""


class Group:
    """The clients of one rate, and the sample that each was sent last: they share a subscription."""

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self.newest: Sample | None = None
        self.sent: dict[Client, Sample | None] = {}

    def take(self) -> Sample | None:
        """Return the newest sample, which some of the clients may have been sent already."""
        taken = self.subscription.take() if self.subscription is not None else None
        self.newest = taken or self.newest
        return self.newest


class Broadcast:
    """Shares one sampler among the clients of one event loop. All but ``_wake`` runs on that loop.

    A slow client has one frame on its way and is then sent the newest of its rate: it misses the frames
    between and holds up nobody.
    """

    def __init__(self, sampler: Sampler, kernels: Callable[[], Awaitable[dict[int, str]]]) -> None:
        self.sampler = sampler
        self.attribution = Attribution(kernels)
        self.watcher = Watcher(self.attribution)
        self.beside = Beside(Planned(), OtherNodes(), Decoding(TokenRates(sampler.history)))
        self._nothing = (NOBODY, NO_WARNINGS, *self.beside.nothing)
        self._clients: dict[Client, Group] = {}
        self._groups: dict[float, Group] = {}
        self._told: dict[Client, tuple[str, ...]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._first: asyncio.Task[Sample | None] | None = None

    async def latest(self) -> Sample | None:
        """Return the newest sample; all who wait for a sampler that wakes up share one thread."""
        sample = self.sampler.latest(0)
        if sample is not None:
            return sample
        if self._first is None or self._first.done():
            self._first = asyncio.create_task(asyncio.to_thread(self.sampler.latest))
        return await asyncio.shield(self._first)  # one who gives up takes nothing from the others

    def join(self, client: Client, hz: float, settings: WarningSettings | None = None) -> None:
        """Send samples to the client at its rate from now on, and warnings by its settings, if it has any."""
        self._loop = asyncio.get_running_loop()
        if settings is not None:
            self.watcher.use(settings)
        self.watcher.follow(self.sampler, self._wake)
        self.beside.look()  # is read by the time the first sample comes
        group = self._groups.setdefault(hz, Group())
        # A new subscription's first sample is the next one: at 0.2 Hz, nobody who joins waits for 5 s.
        if group.subscription is not None:
            group.subscription.close()
        group.subscription = self.sampler.subscribe(hz, self._wake)
        group.sent[client] = group.newest
        self._clients[client] = group

    def leave(self, client: Client) -> None:
        """Send nothing more to the client; it may have left already."""
        self._told.pop(client, None)
        group = self._clients.pop(client, None)
        if group is not None:
            del group.sent[client]
            if not group.sent and group.subscription is not None:
                group.subscription.close()
                self._groups = {hz: each for hz, each in self._groups.items() if each is not group}
        if not self._clients:
            self.watcher.rest()

    def _wake(self) -> None:
        """Run in the sampler's thread."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: the server is going down
                loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        self.watcher.look()
        self.beside.look()
        if self.beside.is_first_look:
            return  # samples stay where they are until the next tick
        for group in list(self._groups.values()):
            self._send_to(group)

    def _send_to(self, group: Group) -> None:
        sample = group.take()
        if sample is None:
            return
        self.attribution.look(sample)
        # Owners, warnings and what lies beside: each goes before a sample to whom does not know it.
        news = (self.attribution.frame, self.watcher.frame, *self.beside.frames)
        frame, sent, told = sample.frame, group.sent, self._told
        for client in [each for each, last in sent.items() if last is not sample]:
            if client.is_ready():
                sent[client] = sample
                if told.get(client, self._nothing) != news:
                    self._tell(client, news)
                client.send(frame)

    def _tell(self, client: Client, news: tuple[str, ...]) -> None:
        told = self._told.get(client, self._nothing)
        self._told[client] = news
        for frame, known in zip(news, told, strict=True):
            if frame != known:
                client.send(frame)
