"""One moment of the machine, and its JSON frame."""

from dataclasses import dataclass
from functools import cached_property

from workshop_utils.hardware.my_gpus import held_gpus
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
    def my_gpus(self) -> tuple[int, ...] | None:
        """The indices of the GPUs that this job holds; None where nothing says so, and all may be."""
        return held_gpus(self.gpus.data or ())

    @cached_property
    def frame(self) -> str:
        """The sample as a JSON frame of the stream, encoded once for all clients."""
        envelope = f'"version": {STREAM_VERSION}, "kind": "sample", "time": {round(self.time, 3)}'
        mine = "null" if self.my_gpus is None else list(self.my_gpus)
        return f'{{{envelope}, "my_gpus": {mine}, "gpus": {self.gpus.json}, "host": {self.host.json}}}'
