"""A bare tornado server that sends one made frame to every client: the floor that no panel gets under.

Run as a program it prints its port and serves; ``running_floor`` starts it beside the panels. ``way`` says
how a frame leaves: ``socket`` straight to the socket, ``stream`` through tornado's stream, ``message`` by
``write_message``.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tornado.web import Application
from tornado.websocket import WebSocketHandler

from tests.workshop_monitor.server import Server

WAYS = ("socket", "stream", "message")
# What a sample of eight GPUs takes.
FRAME_BYTES = 5650
EVERYBODY: set["Listener"] = set()


class Listener(WebSocketHandler):
    """A client that is sent to."""

    def open(self) -> None:
        self.set_nodelay(True)
        EVERYBODY.add(self)

    def on_close(self) -> None:
        EVERYBODY.discard(self)


def sender(way: str) -> Callable[[Listener], Any]:
    text = f'"{"x" * (FRAME_BYTES - 2)}"'
    frame = b"\x81\x7e" + len(text).to_bytes(2, "big") + text.encode()
    return {
        "socket": lambda listener: listener.ws_connection.stream.socket.send(frame),
        "stream": lambda listener: listener.ws_connection.stream.write(frame),
        "message": lambda listener: listener.write_message(text),
    }[way]


async def serve(way: str, hz: float) -> None:
    server = Application([("/", Listener)]).listen(0, "127.0.0.1")
    print(next(iter(server._sockets.values())).getsockname()[1], flush=True)
    send, loop = sender(way), asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += 1 / hz
        await asyncio.sleep(due - loop.time())
        for listener in list(EVERYBODY):
            send(listener)


@contextlib.contextmanager
def running_floor(way: str, hz: float) -> Iterator[Server]:
    """Start the server and end it."""
    command = [sys.executable, "-m", "tests.workshop_monitor.bench_floor", way, str(hz)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)
    try:
        assert process.stdout is not None
        yield Server(process, int(process.stdout.readline()), Path("/dev/null"))
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
