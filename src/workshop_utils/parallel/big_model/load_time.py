"""How long a checkpoint takes to load when nothing of it is in memory, beside the disk's own speed."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from workshop_utils.parallel.big_model.checkpoint import read_checkpoint
from workshop_utils.parallel.big_model.devices import Key
from workshop_utils.parallel.big_model.load import empty_model, load_checkpoint
from workshop_utils.units import GB

READ_BYTES = 16 * 2**20


@dataclass(frozen=True)
class LoadTime:
    """Seconds to load ``bytes`` of files, and to read the same files one after the other and do nothing else.

    ``load_disk_bytes``, ``read_disk_bytes``: what the kernel fetched from a disk for it (/proc/PID/io); fewer
    than ``bytes`` mean that the files were still in the page cache, as on a file system in memory. None: the
    system does not say.
    """

    bytes: int
    load_seconds: float
    read_seconds: float
    load_disk_bytes: int | None
    read_disk_bytes: int | None

    @property
    def load_gb_per_s(self) -> float:
        return self.bytes / GB / self.load_seconds

    @property
    def read_gb_per_s(self) -> float:
        return self.bytes / GB / self.read_seconds


def timed_load(
    folder: Path, modules: Mapping[str, Key], *, dtype: str, offload_folder: Path | None = None
) -> tuple[Any, LoadTime]:
    """Load as ``load_checkpoint`` does, with the page cache emptied of the files; and read them alone before.

    Raises what ``load_checkpoint`` raises.
    """
    files = read_checkpoint(folder).files
    # What is imported for it is no part of loading.
    empty_model(folder, dtype)
    _, read_seconds, read_disk_bytes = timed(lambda: read_all(files), files)
    model, load_seconds, load_disk_bytes = timed(
        lambda: load_checkpoint(folder, modules, dtype=dtype, offload_folder=offload_folder), files
    )
    size = sum(file.stat().st_size for file in files)
    return model, LoadTime(size, load_seconds, read_seconds, load_disk_bytes, read_disk_bytes)


def timed(work: Callable[[], Any], files: Sequence[Path]) -> tuple[Any, float, int | None]:
    """Return what ``work`` returns, its seconds and bytes from a disk; the page cache has no ``files``."""
    import torch

    evict(files)
    before, started = disk_bytes(), time.perf_counter()
    made = work()
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            torch.cuda.synchronize(number)
    seconds, after = time.perf_counter() - started, disk_bytes()
    return made, seconds, None if before is None or after is None else after - before


def evict(files: Sequence[Path]) -> None:
    """Ask the kernel to forget what it keeps of the files: needs no rights; pages in use elsewhere stay."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            # A page that is not yet on the disk cannot be forgotten.
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def read_all(files: Sequence[Path]) -> None:
    """Read the files from beginning to end into one small buffer."""
    buffer = bytearray(READ_BYTES)
    for file in files:
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(buffer):
                pass


def disk_bytes() -> int | None:
    """Return the bytes that the kernel has read from a disk for this process; None where it does not say."""
    try:
        return int(psutil.Process().io_counters().read_bytes)
    except (AttributeError, OSError, psutil.Error):
        return None
