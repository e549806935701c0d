"""What notebooks and terminals put beside this machine's figures, in private files: a frame of each."""

import asyncio
import logging
import time
from typing import Protocol

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.9
# After a while in which nobody looked, the last frame says nothing about now.
PAUSE_SECONDS = 5.0
# A server's first sample waits so long for what lies beside it.
FIRST_SECONDS = 1.0


class Reader(Protocol):
    """Makes the frame of one kind of files."""

    subject: str
    nothing: str
    """The frame where there is no file."""
    is_of_now: bool
    """Whether a frame is no longer true after a pause."""

    def read(self) -> str:
        """Return the frame of what the files hold now. Called by one thread at a time."""


class Beside:
    """Reads all once a second, in one thread: files lie in a home that may be slow, or hang."""

    def __init__(self, *readers: Reader) -> None:
        self._readers = readers
        self._looked_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._has_read = False
        self.frames = self.nothing

    @property
    def nothing(self) -> tuple[str, ...]:
        """The frames where there are no files."""
        return tuple(reader.nothing for reader in self._readers)

    @property
    def is_first_look(self) -> bool:
        """Whether nothing has been read yet, for which a moment may be waited."""
        return not self._has_read and time.monotonic() - self._looked_at < FIRST_SECONDS

    def look(self) -> None:
        """Look, if a second has passed; returns at once. Runs on the event loop."""
        seconds = time.monotonic() - self._looked_at
        if seconds < LOOK_SECONDS:
            return
        if seconds > PAUSE_SECONDS:  # nobody looked, or the home hangs
            self.frames = tuple(
                reader.nothing if reader.is_of_now else frame
                for reader, frame in zip(self._readers, self.frames, strict=True)
            )
        if self._task is not None and not self._task.done():
            return
        self._looked_at = time.monotonic()
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        self.frames = await asyncio.to_thread(lambda: tuple(map(_frame, self._readers)))
        self._has_read = True


def _frame(reader: Reader) -> str:
    try:
        return reader.read()
    except Exception:  # no figure of the stream depends on it
        LOG.exception("%s could not be read", reader.subject)
        return reader.nothing
