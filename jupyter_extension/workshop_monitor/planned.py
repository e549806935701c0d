"""The plan that a notebook or a terminal put beside the server, as a frame of the stream."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from workshop_utils.monitor.plan import plan_file, read_plan
from workshop_utils.monitor.sample import STREAM_VERSION

LOOK_SECONDS = 0.9


def frame_of(plan: dict[str, object] | None) -> str:
    """Return the frame; without a plan its field is null."""
    return json.dumps({"version": STREAM_VERSION, "kind": "plan", "plan": plan})


NO_PLAN = frame_of(None)


class Planned:
    """Follows the file of the plan: a look at its date once a second, a reading when that changed."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or plan_file()
        self._looked_at = float("-inf")
        self._seen: tuple[int, int] | None = None
        self.frame = NO_PLAN

    def look(self) -> None:
        """Follow the file, if a second has passed."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            about = self._file.stat()
            seen = (about.st_ino, about.st_mtime_ns)
        except OSError:
            self._seen, self.frame = None, NO_PLAN
            return
        if seen != self._seen:
            self._seen = seen
            plan = read_plan(self._file)
            self.frame = NO_PLAN if plan is None else frame_of(asdict(plan))
