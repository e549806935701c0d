"""Frames that are written past ``write_message``: valid for a real client, and nobody waits for another."""

import asyncio
import contextlib
import json
import logging
import socket
import time

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect
from workshop_monitor.broadcast import Broadcast
from workshop_monitor.handlers import SETTING, StreamHandler
from workshop_monitor.wire import LastFrame, Wire, text_frame

from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor.sampler import Sampler

UPGRADE = (
    "GET /stream?hz=10 HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Gpus:
    """One GPU, with as long a name as it is told."""

    name = "H100"

    def read(self):
        return Reading.of((GpuReading(0, "GPU-1", self.name, utilization_percent=50, processes=[]),))

    def close(self):
        pass


class NoHost:
    def read(self):
        return Reading.missing("not here")

    def close(self):
        pass


class Open(StreamHandler):
    """The stream without Jupyter's login, which other tests hold."""

    def prepare(self):
        pass

    async def get(self):
        self._hz, self._note, self._warning_settings = 10.0, None, None
        await WebSocketHandler.get(self)

    def check_origin(self, origin):
        return True

    def data_received(self, chunk):
        pass


async def nobody():
    return {}


@pytest.fixture
def gpus():
    return Gpus()


@pytest.fixture
def broadcast(gpus):
    made = Broadcast(Sampler(gpus, NoHost()), nobody)
    yield made
    made.sampler.stop()


@pytest.fixture
def port(io_loop, broadcast):
    listener, number = bind_unused_port()
    server = HTTPServer(Application([("/stream", Open)], **{SETTING: broadcast}))

    async def start():
        server.add_sockets([listener])

    io_loop.run_sync(start)
    yield number
    server.stop()
    io_loop.run_sync(server.close_all_connections)


async def connect(port, **options):
    return await websocket_connect(f"ws://127.0.0.1:{port}/stream", max_message_size=1 << 26, **options)


async def samples(client, count):
    found = []
    while len(found) < count:
        frame = json.loads(await asyncio.wait_for(client.read_message(), 5))
        found += [frame] if frame["kind"] == "sample" else []
    return found


async def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


async def deaf_client(port):
    """Return the socket of a client that takes part and never reads."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, ("127.0.0.1", port))
    await loop.sock_sendall(deaf, UPGRADE.encode())
    return deaf


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 300_000])
async def test_a_real_client_reads_every_length(port, broadcast, size):
    client = await connect(port)
    await samples(client, 1)
    (handler,) = broadcast._clients
    text = "µ" * (size // 2) + "x" * (size % 2)
    assert len(text.encode()) == size
    handler.send(text)
    while (message := await asyncio.wait_for(client.read_message(), 5)) != text:
        assert json.loads(message)["kind"] in {"hello", "history", "sample"}
    await samples(client, 2)  # and what follows is in step
    client.close()


def test_all_clients_are_sent_the_same_bytes():
    frames = LastFrame()
    text = "x" * 1000
    assert frames.of(text) is frames.of(text)
    assert frames.of("other") == text_frame("other")
    assert frames.of(text) == text_frame(text)


async def test_client_that_never_reads_keeps_one_frame_and_delays_nobody(port, broadcast, gpus):
    gpus.name = "x" * 3_000_000
    deaf = await deaf_client(port)
    await until(lambda: len(broadcast._clients) == 1)
    (handler,) = broadcast._clients
    await until(lambda: not handler.is_ready())
    other = await connect(port)
    await samples(other, 1)
    start = time.monotonic()
    await samples(other, 10)
    assert time.monotonic() - start < 3.0  # one on an idle machine
    assert not handler.is_ready()
    pending = len(handler.ws_connection.stream._write_buffer)
    assert 0 < pending < 2 * len(gpus.name)  # what was on its way, and nothing of what came later
    other.close()
    deaf.close()
    await until(lambda: not broadcast._clients)


async def test_client_that_reads_again_finds_whole_frames(port, broadcast, gpus):
    gpus.name = "x" * 12_000_000
    client = await connect(port)
    (handler,) = broadcast._clients
    await until(lambda: not handler.is_ready())  # more than both sockets hold is in the stream's buffer
    found = await samples(client, 3)
    assert {sample["gpus"]["data"][0]["name"] for sample in found} == {gpus.name}
    client.close()


async def test_client_that_goes_while_a_frame_is_written_is_forgotten(port, broadcast, gpus, caplog):
    gpus.name = "x" * 3_000_000
    deaf = await deaf_client(port)
    await until(lambda: len(broadcast._clients) == 1)
    (handler,) = broadcast._clients
    await until(lambda: not handler.is_ready())
    with caplog.at_level(logging.WARNING):
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        deaf.close()
        await until(lambda: not broadcast._clients)
        handler.send("too late")
    assert handler.is_ready()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_socket_that_breaks_at_the_short_way_is_the_streams_business(port, broadcast):
    client = await connect(port)
    await samples(client, 1)
    (handler,) = broadcast._clients
    handler.ws_connection.stream.socket.shutdown(socket.SHUT_WR)
    handler.send("x")
    await until(lambda: not broadcast._clients)
    client.close()


async def test_closing_client_is_sent_nothing(port, broadcast):
    client = await connect(port)
    await samples(client, 1)
    (handler,) = broadcast._clients
    handler.close()
    handler.send("after the closing frame")
    assert broadcast._clients == {}
    while (message := await asyncio.wait_for(client.read_message(), 5)) is not None:
        assert json.loads(message)["version"] == 1


async def test_compression_is_respected_where_a_server_has_it(port, broadcast, monkeypatch):
    monkeypatch.setattr(Open, "get_compression_options", lambda self: {}, raising=False)
    client = await connect(port, compression_options={})
    assert (await samples(client, 3))[-1]["kind"] == "sample"
    (handler,) = broadcast._clients
    assert handler._wire is None
    client.close()


async def test_stream_that_is_no_plain_socket_is_written_by_tornado(port, broadcast):
    client = await connect(port)
    await samples(client, 1)
    (handler,) = broadcast._clients
    wire = Wire(handler)
    assert wire._plain
    wire._plain = False  # as under TLS
    sent = wire.send(text_frame('{"kind": "sample", "mine": 1}'))
    await asyncio.wait_for(sent, 5)
    while "mine" not in (await samples(client, 1))[0]:
        pass
    client.close()


async def test_clients_of_one_rate_share_a_subscription_and_who_joins_does_not_wait(broadcast):
    class Client:
        def __init__(self):
            self.got = []

        def is_ready(self):
            return True

        def send(self, frame):
            self.got.append(json.loads(frame)["time"])

    first, second, fast = Client(), Client(), Client()
    with contextlib.closing(broadcast.sampler.subscribe(10.0, lambda: None)):
        broadcast.join(first, 0.2)
        await until(lambda: first.got)
        broadcast.join(second, 0.2)
        await until(lambda: second.got, 1.0)  # not five seconds
        broadcast.join(fast, 10.0)
        await until(lambda: len(fast.got) > 3)
        assert len(broadcast._groups) == 2
        assert first.got == sorted(set(first.got))
        assert len(broadcast.sampler._subscriptions) == 4  # two rates, the warnings', the test's
        for each in (first, second, fast, first):
            broadcast.leave(each)
        assert broadcast._groups == {}
        assert len(broadcast.sampler._subscriptions) == 1


async def test_news_goes_once_and_before_a_sample_even_to_who_was_busy_when_it_came(broadcast):
    class Client:
        def __init__(self):
            self.got, self.ready = [], True

        def is_ready(self):
            return self.ready

        def send(self, frame):
            self.got.append(json.loads(frame)["kind"])

    quick, slow = Client(), Client()
    for client in (quick, slow):
        broadcast.join(client, 10.0)
    await until(lambda: slow.got)
    slow.ready = False
    missed = len(slow.got)
    broadcast.attribution.frame = '{"kind": "owners"}'
    await until(lambda: quick.got.count("sample") > 5)
    assert len(slow.got) == missed
    slow.ready = True
    await until(lambda: len(slow.got) >= missed + 4)
    for client in (quick, slow):
        broadcast.leave(client)
    assert slow.got[missed : missed + 4] == ["owners", "sample", "sample", "sample"]
    assert quick.got.count("owners") == 1
