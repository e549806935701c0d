"""Record what the GPUs do while a block of Python runs: ``with record("decode.ndjson"): …``."""

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.provenance import cpu_name, version_of
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.subscription import FASTEST_HZ, SLOWEST_HZ
from workshop_utils.monitor.trace_writer import TraceWriter

LIBRARIES = ("torch", "transformers", "accelerate", "vllm")


@contextmanager
def record(
    file: Path | str | None = None, hz: float = 1.0, command: Sequence[str] | None = None
) -> Iterator[TraceWriter]:
    """Write a trace of this machine while the block runs; yields its writer, to ``mark`` what happens.

    ``file`` None is ``trace-DATE.ndjson`` in this folder, or the next name that is free, ``hz`` samples a
    second, ``command`` what the header names (None: this process). The trace is complete whatever ends the
    block; an exception is named in its end line and goes on. WorkshopError for a rate out of range, a file
    that is there or cannot be written, or a full disk.
    """
    if not SLOWEST_HZ <= hz <= FASTEST_HZ:
        raise WorkshopError(f"hz={hz:g} is out of range; give {SLOWEST_HZ:g} to {FASTEST_HZ:g}.")
    began = datetime.now(UTC)
    path = Path(file) if file is not None else None
    sampler = Sampler()
    try:
        words = sys.orig_argv if command is None else command
        writer = TraceWriter(path, sampler, hz, header(words, began, sampler.latest()))
        writer.start()
        try:
            yield writer
        except BaseException as error:
            with suppress(WorkshopError):  # the reader has to see what went wrong first
                writer.stop(error=type(error).__name__)
            raise
        writer.stop()
    finally:
        sampler.stop()


def header(words: Sequence[str], began: datetime, first: Sample | None) -> Mapping[str, Any]:
    """Return what a reader needs to judge the trace later."""
    gpus = [gpu.name for gpu in first.gpus.data] if first is not None and first.gpus.data else []
    here = machine()
    return {
        "command": list(words),
        "date": began.isoformat(timespec="seconds"),
        "hardware": [*gpus, here["cpu"]],
        "versions": here["versions"],
    }


@functools.cache
def machine() -> Mapping[str, Any]:
    """Return the CPU's name and the versions of the libraries of this environment."""
    return {"cpu": cpu_name(), "versions": {name: version_of(name) for name in LIBRARIES}}
