"""The plan that a notebook or a terminal put beside the server, as a frame of the stream."""

import asyncio
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

from workshop_utils.monitor.plan import plan_file, read_plan
from workshop_utils.monitor.sample import STREAM_VERSION

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.9


def frame_of(plan: dict[str, object] | None) -> str:
    """Return the frame; without a plan its field is null."""
    return json.dumps({"version": STREAM_VERSION, "kind": "plan", "plan": plan}, allow_nan=False)


NO_PLAN = frame_of(None)


class Planned:
    """Follows the file of the plan: a look at its date once a second, a reading when that changed.

    Both happen in a thread: the file lies in a home that may be slow, or hang.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or plan_file()
        self._looked_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._seen: tuple[int, int] | None = None
        self.frame = NO_PLAN

    def look(self) -> None:
        """Follow the file, if a second has passed; returns at once. Runs on the event loop."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS or (self._task is not None and not self._task.done()):
            return
        self._looked_at = now
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            self.frame = await asyncio.to_thread(self.read)
        except Exception:  # no figure of the stream depends on it
            LOG.exception("the plan could not be read")
            self.frame = NO_PLAN

    def read(self) -> str:
        """Return the frame of what the file holds now."""
        try:
            about = self._file.stat()
        except OSError:
            self._seen = None
            return NO_PLAN
        seen = (about.st_ino, about.st_mtime_ns)
        if seen == self._seen:
            return self.frame
        self._seen = seen
        plan = read_plan(self._file)
        return NO_PLAN if plan is None else frame_of(asdict(plan))
