"""The plan that a notebook or a terminal put beside the server, as a frame of the stream."""

import json
from dataclasses import asdict
from pathlib import Path

from workshop_utils.monitor.plan import plan_file, read_plan
from workshop_utils.monitor.sample import STREAM_VERSION


def frame_of(plan: dict[str, object] | None) -> str:
    """Return the frame; without a plan its field is null."""
    return json.dumps({"version": STREAM_VERSION, "kind": "plan", "plan": plan}, allow_nan=False)


NO_PLAN = frame_of(None)


class Planned:
    """Reads the file of the plan when its date has changed."""

    subject, nothing, is_of_now = "the plan", NO_PLAN, False

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or plan_file()
        self._seen: tuple[int, int] | None = None
        self._frame = NO_PLAN

    def read(self) -> str:
        """Return the frame of what the file holds now."""
        try:
            about = self._file.stat()
        except OSError:
            self._seen = None
            return NO_PLAN
        seen = (about.st_ino, about.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._frame = seen, NO_PLAN
            plan = read_plan(self._file)
            self._frame = NO_PLAN if plan is None else frame_of(asdict(plan))
        return self._frame
