"""Frames as bytes of a websocket, made once for all clients, and the shortest way for them to a socket.

What a server sends is not masked (RFC 6455, 5.1), so the bytes are the same for everybody.
"""

import asyncio
import struct

from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler

# FIN and the opcode of text: one whole message.
TEXT = 0x81


def text_frame(text: str) -> bytes:
    """Return the websocket frame of a text: a header with the length in 1, 3 or 9 bytes, and UTF-8."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", TEXT, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", TEXT, 126, size) + payload
    return struct.pack("!BBQ", TEXT, 127, size) + payload


class LastFrame:
    """The bytes of the text that was asked for last: one after another, all clients are sent the same."""

    def __init__(self) -> None:
        self._text = ""
        self._bytes = text_frame("")

    def of(self, text: str) -> bytes:
        """Return the frame of the text."""
        if text is not self._text:
            self._text, self._bytes = text, text_frame(text)
        return self._bytes


class Wire:
    """One client's stream. ``write_message`` would build the frame and a task for each client."""

    def __init__(self, handler: WebSocketHandler) -> None:
        """Take an open websocket that does not compress."""
        self._stream = handler.ws_connection.stream
        # Under TLS a write may have to wait for a read: that is the stream's business.
        self._plain = type(self._stream) is IOStream

    def send(self, frame: bytes) -> asyncio.Future[None] | None:
        """Send a whole frame to a stream that is open: None if it has left, else a future of when it has."""
        stream = self._stream
        if not self._plain or stream.writing():
            return self._write(frame)
        try:
            sent = stream.socket.send(frame)
        except OSError:  # a full socket, or a broken one, of which the stream knows more
            sent = 0
        return None if sent == len(frame) else self._write(memoryview(frame)[sent:])

    def _write(self, rest: bytes | memoryview) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._stream.write(rest)
        return future
