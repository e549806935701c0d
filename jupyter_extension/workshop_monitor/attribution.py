"""Whose the programs on the GPUs are, as a frame that changes seldom."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from workshop_utils.monitor.owners import Owner, owners_of
from workshop_utils.monitor.sample import STREAM_VERSION, Sample

LOG = logging.getLogger(__name__)
# A kernel that starts or ends changes the answer though the programs stay the same.
LOOK_AGAIN_SECONDS = 5.0


class Attribution:
    """Looks at most once a tick of the stream, in a thread, and only where programs are on GPUs."""

    def __init__(self, kernels: Callable[[], Awaitable[dict[int, str]]]) -> None:
        self._kernels = kernels
        self._seen: Sample | None = None
        self._pids: frozenset[int] = frozenset()
        self._looked_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self.frame = NOBODY
        self.owners: Mapping[int, Owner] = {}

    def look(self, sample: Sample) -> None:
        """Look whether something changed; returns at once. Runs on the event loop."""
        if sample is self._seen:  # twenty clients get the same one
            return
        self._seen = sample
        pids = frozenset(process.pid for gpu in sample.gpus.data or () for process in gpu.processes or ())
        due = pids and time.monotonic() - self._looked_at >= LOOK_AGAIN_SECONDS
        busy = self._task is not None and not self._task.done()
        if busy or not (due or pids != self._pids):
            return
        self._pids, self._looked_at = pids, time.monotonic()
        self._task = asyncio.create_task(self._find(pids))

    async def _find(self, pids: frozenset[int]) -> None:
        try:
            kernels = await self._kernels()
            owners = await asyncio.to_thread(owners_of, pids, kernels)
        except Exception:  # no figure of the stream depends on it
            LOG.exception("whose the programs on the GPUs are could not be found")
            return
        self.owners = {owner.pid: owner for owner in owners}
        self.frame = frame_of([vars(owner) for owner in owners])


def frame_of(owners: list[dict[str, Any]]) -> str:
    return json.dumps({"version": STREAM_VERSION, "kind": "owners", "owners": owners})


NOBODY = frame_of([])
