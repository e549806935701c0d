"""From the sampler's thread to the sockets: one hop to the event loop a tick for all of them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from workshop_monitor.attribution import NOBODY, Attribution
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.subscription import Subscription


class Client(Protocol):
    """A socket that can be sent to."""

    def is_ready(self) -> bool:
        """Tell whether the last frame has left."""

    def send(self, frame: str) -> None:
        """Send a frame without waiting for it to leave."""


class Broadcast:
    """Shares one sampler among the clients of one event loop. All but ``_wake`` runs on that loop.

    A slow client has one frame on its way and one in its subscription's slot: it misses the frames between
    and holds up nobody.
    """

    def __init__(self, sampler: Sampler, kernels: Callable[[], Awaitable[dict[int, str]]]) -> None:
        self.sampler = sampler
        self.attribution = Attribution(kernels)
        self._clients: dict[Client, Subscription] = {}
        self._told: dict[Client, str] = {}
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

    def join(self, client: Client, hz: float) -> None:
        """Send samples to the client at its rate from now on."""
        self._loop = asyncio.get_running_loop()
        self._clients[client] = self.sampler.subscribe(hz, self._wake)

    def leave(self, client: Client) -> None:
        """Send nothing more to the client; it may have left already."""
        self._told.pop(client, None)
        subscription = self._clients.pop(client, None)
        if subscription is not None:
            subscription.close()

    def _wake(self) -> None:
        """Run in the sampler's thread."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: the server is going down
                loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        for client, subscription in list(self._clients.items()):
            if client.is_ready() and (sample := subscription.take()) is not None:
                self.attribution.look(sample)
                self._tell_owners(client)
                client.send(sample.frame)

    def _tell_owners(self, client: Client) -> None:
        """Send whose the programs are before the sample that shows them, to a client that does not know."""
        frame = self.attribution.frame
        if self._told.get(client, NOBODY) != frame:
            self._told[client] = frame
            client.send(frame)
