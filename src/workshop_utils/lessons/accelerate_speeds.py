"""How fast offloaded weights can come: from files, from the disk itself, and from memory to a GPU."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.lessons.token_log import settle
from workshop_utils.parallel.big_model.devices import DISK, HOST, Key

PIECE_BYTES, COPY_BYTES = 1 << 20, 64 * 10**6


@dataclass(frozen=True)
class Speeds:
    """Bytes a second at which weights can come; None where that cannot be measured here.

    ``cached``: files that Linux still has in spare memory; ``disk``: the same ones from the disk itself;
    ``to_gpu``: from pageable memory to GPU 0.
    """

    cached: float
    disk: float | None
    to_gpu: float | None

    def ms(self, home: Key, size: int) -> float:
        """Return how long so many bytes take from their home to where layers run."""
        ways = [self.cached] if home == DISK else []
        if self.to_gpu is not None and home in {HOST, DISK}:
            ways.append(self.to_gpu)
        return sum(1000 * size / speed for speed in ways)


def measure_speeds(folder: Path) -> Speeds:
    """Return how fast the shards in ``folder`` can be read, and copied to a GPU where there is one."""
    files = sorted(folder.glob("*.safetensors"))
    read_speed(files)  # brings them into memory where they are not there yet
    cached = read_speed(files)
    disk = read_speed(files) if forget(files) else None
    read_speed(files)
    return Speeds(cached, disk, copy_speed())


def read_speed(files: Sequence[Path]) -> float:
    """Return the bytes a second of reading the files from end to end."""
    piece, size = bytearray(PIECE_BYTES), 0
    began = time.perf_counter()
    for file in files:
        with file.open("rb", buffering=0) as opened:
            while read := opened.readinto(piece):
                size += read
    return size / (time.perf_counter() - began)


def forget(files: Sequence[Path]) -> bool:
    """Ask Linux to drop the files from its page cache; False on systems that cannot be asked."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # only what is on the disk can be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return True


def copy_speed() -> float | None:
    """Return the bytes a second from pageable memory to GPU 0, the better of three; None without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    source, best = torch.ones(COPY_BYTES, dtype=torch.uint8), 0.0
    for _ in range(3):
        settle()
        began = time.perf_counter()
        source.to("cuda:0")
        settle()
        best = max(best, COPY_BYTES / (time.perf_counter() - began))
    return best
