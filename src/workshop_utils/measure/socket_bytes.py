"""What this process has sent over TCP, as the system counts it: how gloo's ranks talk."""

import os
import socket
import stat
import struct
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")
# tcpi_bytes_sent in Linux's struct tcp_info (include/uapi/linux/tcp.h), there since Linux 4.19.
OFFSET, LENGTH = 200, 208


def bytes_sent_over_tcp() -> int | None:
    """Return the bytes sent by all open TCP sockets of this process; None where the system does not count.

    A socket that was closed counts no more: take the difference over a span in which none is.
    """
    if not hasattr(socket, "TCP_INFO") or not DESCRIPTORS.is_dir():
        return None
    counts = [_sent_by(int(entry.name)) for entry in DESCRIPTORS.iterdir()]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _sent_by(descriptor: int) -> int | None:
    """Return what one descriptor has sent; None for what is no TCP socket, or is closed by now."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as one:
            if one.family not in {socket.AF_INET, socket.AF_INET6} or one.type != socket.SOCK_STREAM:
                return None
            info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LENGTH)
    except OSError:
        return None
    return int(struct.unpack_from("=Q", info, OFFSET)[0]) if len(info) >= LENGTH else None
