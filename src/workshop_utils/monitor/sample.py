"""One moment of the machine, and its JSON frame."""

from dataclasses import dataclass
from functools import cached_property

from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor.host import HostReading

STREAM_VERSION = 1


@dataclass(frozen=True)
class Sample:
    """One moment. ``time`` is seconds since 1970, ``ticks`` the monotonic clock, which never jumps."""

    time: float
    ticks: float
    gpus: Reading[tuple[GpuReading, ...]]
    host: Reading[HostReading]

    @cached_property
    def frame(self) -> str:
        """The sample as a JSON frame of the stream, encoded once for all clients."""
        envelope = f'"version": {STREAM_VERSION}, "kind": "sample", "time": {round(self.time, 3)}'
        return f'{{{envelope}, "gpus": {self.gpus.json}, "host": {self.host.json}}}'
