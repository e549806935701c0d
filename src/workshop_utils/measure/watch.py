"""Watch what a block of code adds to this process's memory: before, after, and the peak in between."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.process_memory import MemoryMeter, MemoryReading, meter_here


@dataclass
class MemoryWatch:
    """Filled when its ``with`` block ends."""

    kind: str
    before: MemoryReading
    own_peak: bool
    after: MemoryReading | None = None

    @property
    def end(self) -> MemoryReading:
        """The reading at the end of the block; ``WorkshopError`` when the block did not end well."""
        if self.after is None:
            raise WorkshopError("this watch has no result: its block stopped early; run that cell again.")
        return self.after

    @property
    def added_bytes(self) -> int:
        """Bytes that the block left behind."""
        return self.end.held_bytes - self.before.held_bytes

    @property
    def working_bytes(self) -> int | None:
        """Bytes that the block needed at its peak beyond what it left; None where nothing reports it."""
        peak = self.end.peak_bytes
        # A peak that could not be reset may be an earlier block's.
        return None if peak is None or not self.own_peak else peak - self.end.held_bytes


@contextmanager
def watch_memory(meter: MemoryMeter | None = None) -> Iterator[MemoryWatch]:
    """Measure what a block adds, on a GPU where torch can use one, else on the CPU.

    ``with watch_memory() as loading: model = …``, then ``loading.added_bytes``.
    """
    meter = meter or meter_here()
    meter.settle()
    own_peak = meter.reset_peak()
    watch = MemoryWatch(meter.kind, meter.read(), own_peak)
    yield watch
    meter.settle()
    watch.after = meter.read()
