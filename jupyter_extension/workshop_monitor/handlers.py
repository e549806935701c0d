"""The routes: a websocket and two JSON answers, all read-only and all authenticated before anything else.

They need the ``read`` permission on ``workshop_monitor`` under Jupyter's authorizer, and do not count as
activity, so that an open panel does not keep an idle server alive.
"""

import asyncio
import json
import math
from typing import Any

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.iostream import StreamClosedError
from tornado.web import authenticated
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from workshop_monitor.broadcast import Broadcast
from workshop_monitor.wire import LastFrame, Wire
from workshop_utils.errors import WorkshopError
from workshop_utils.measure.recording import machine
from workshop_utils.monitor.sample import STREAM_VERSION, Sample
from workshop_utils.monitor.sampler import HISTORY_SECONDS
from workshop_utils.monitor.subscription import FASTEST_HZ, SLOWEST_HZ
from workshop_utils.monitor.warning_settings import read_settings

SETTING = "workshop_monitor_broadcast"
AUTH_RESOURCE = "workshop_monitor"
# A proxy such as Open OnDemand's Apache closes a connection that is silent for a minute.
PING_SECONDS = 25.0
LONGEST_MESSAGE_BYTES = 4096
LAST_FRAME = LastFrame()
NO_SAMPLE = "No sample came within 5 s: the machine is overloaded, or the server is going down; ask again."


class StreamHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):  # type: ignore[misc]
    """``workshop-monitor/stream?hz=1``: ``hello``, ``history``, then ``sample`` at its rate.

    ``owners``, ``warnings``, ``plan`` and ``nodes`` come when they change; of what to warn may stand in the
    query (the fields of ``WarningSettings``).

    Origin and token are checked before the upgrade, the origin by Jupyter's rule. What a client says is
    ignored; more than 4 KiB of it closes the socket.
    """

    auth_resource = AUTH_RESOURCE
    # Tornado's keep-alive (in seconds) in place of the one of Jupyter's mixin (in milliseconds): one ping.
    ping_interval = PING_SECONDS
    ping_timeout = PING_SECONDS
    max_message_size = LONGEST_MESSAGE_BYTES

    @ws_authenticated  # type: ignore[untyped-decorator]
    @authorized(action="read")  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Check ``hz`` and upgrade. 403 without a token or from a foreign origin, 400 for no number."""
        try:
            self._hz, note = parse_rate(self.get_query_argument("hz", "1"))
        except WorkshopError as error:
            refuse(self, error)
            return
        query = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        self._warning_settings, notes = read_settings(query)
        self._note = " ".join(each for each in (note, notes) if each) or None
        await super().get()

    def open(self) -> None:
        """Greet, catch up, and join. The mixin's ``open`` would only start a second ping."""
        self._last_write: asyncio.Future[None] | None = None
        self._wire = Wire(self) if self.get_compression_options() is None else None
        self.set_nodelay(True)
        broadcast = self._broadcast
        self.send(json.dumps(hello(self._hz, self._note)))
        self.send(history_frame(broadcast.sampler.history()))
        broadcast.join(self, self._hz, self._warning_settings)

    def is_ready(self) -> bool:
        """Tell whether the last frame has left; a client that does not read gets no more until it has."""
        return self._last_write is None or self._last_write.done()

    def send(self, frame: str) -> None:
        """Send one frame; a socket that is closed leaves."""
        try:
            if self._wire is None:
                self._last_write = self.write_message(frame)
            elif self.ws_connection is None or self.ws_connection.is_closing():
                raise WebSocketClosedError
            else:
                self._last_write = self._wire.send(LAST_FRAME.of(frame))
        except (WebSocketClosedError, StreamClosedError):
            self._broadcast.leave(self)
            return
        if self._last_write is not None:
            self._last_write.add_done_callback(lambda write: write.cancelled() or write.exception())

    def on_message(self, message: str | bytes) -> None:
        """Ignore it: the stream only speaks."""

    def on_close(self) -> None:
        """Leave, so that the sampler may slow down or sleep."""
        self._broadcast.leave(self)

    @property
    def _broadcast(self) -> Broadcast:
        broadcast: Broadcast = self.settings[SETTING]
        return broadcast


class SnapshotHandler(APIHandler):  # type: ignore[misc]
    """``workshop-monitor/snapshot``: the newest sample."""

    auth_resource = AUTH_RESOURCE
    _track_activity = False

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer at once while the sampler runs; waking up takes 0.1 s, and 2 s with a driver that hangs."""
        sample = await self.settings[SETTING].latest()
        if sample is None:
            refuse(
                self,
                WorkshopError(NO_SAMPLE),
                503,
            )
            return
        self.finish(sample.frame)


class HistoryHandler(APIHandler):  # type: ignore[misc]
    """``workshop-monitor/history?seconds=600``: what the ring buffer holds, oldest first."""

    auth_resource = AUTH_RESOURCE
    _track_activity = False

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """400 for ``seconds`` that is no positive number; more than the buffer holds is cut, with no harm."""
        try:
            seconds = parse_seconds(self.get_query_argument("seconds", str(HISTORY_SECONDS)))
        except WorkshopError as error:
            refuse(self, error)
            return
        self.finish(history_frame(self.settings[SETTING].sampler.history(seconds)))


def hello(hz: float, note: str | None) -> dict[str, Any]:
    """Return the first frame of a stream."""
    return {
        "version": STREAM_VERSION,
        "kind": "hello",
        "hz": hz,
        "hz_range": [SLOWEST_HZ, FASTEST_HZ],
        "history_seconds": HISTORY_SECONDS,
        "note": note,
        "machine": machine(),
    }


def history_frame(samples: tuple[Sample, ...]) -> str:
    """Join frames that are encoded already: ten minutes of eight GPUs would hold up the loop for 20 ms."""
    frames = ",".join(sample.frame for sample in samples)
    return f'{{"version": {STREAM_VERSION}, "kind": "history", "samples": [{frames}]}}'


def parse_rate(text: str) -> tuple[float, str | None]:
    """Return samples a second and a note if it had to be brought into range; WorkshopError for no number."""
    asked = _number("hz", text, f"{SLOWEST_HZ} to {FASTEST_HZ:g} samples a second, for example hz=1")
    hz = min(max(asked, SLOWEST_HZ), FASTEST_HZ)
    if hz == asked:
        return hz, None
    return hz, f"hz={asked:g} is outside {SLOWEST_HZ} to {FASTEST_HZ:g}; the stream runs at {hz:g} Hz."


def parse_seconds(text: str) -> float:
    """Return how far back to look, at most the length of the buffer; WorkshopError if not above zero."""
    wanted = f"a number above 0, at most {HISTORY_SECONDS} seconds, for example seconds=60"
    seconds = _number("seconds", text, wanted)
    if seconds <= 0:
        raise WorkshopError(f"seconds={text[:40]!r} is out of range: give {wanted}.")
    return min(seconds, HISTORY_SECONDS)


def _number(name: str, text: str, wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise WorkshopError(f"{name}={text[:40]!r} is not a number: give {wanted}.")
    return number


def refuse(handler: JupyterHandler, error: WorkshopError, status: int = 400) -> None:
    """Answer with one sentence in JSON instead of Jupyter's HTML page."""
    handler.set_status(status)
    handler.set_header("Content-Type", "application/json")
    handler.finish(json.dumps({"message": str(error), "reason": None}))
