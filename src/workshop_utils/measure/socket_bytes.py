"""What this process has handed to TCP, as the system counts it: how gloo's ranks talk."""

import os
import socket
import stat
import struct
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")
# Linux's struct tcp_info (include/uapi/linux/tcp.h); bytes sent and sent again are there since Linux 4.19.
NOT_YET_SENT, SENT_AND_AGAIN, LENGTH = 144, 200, 216


def bytes_sent_over_tcp() -> int | None:
    """Return the bytes written to all open TCP sockets of this process; None where the system does not count.

    What waits for a slow receiver in a socket's buffer counts, what was lost and sent again counts once.

    A socket that was closed counts no more: take the difference over a span in which none is.
    """
    if not hasattr(socket, "TCP_INFO") or not DESCRIPTORS.is_dir():
        return None
    counts = [_written_to(int(entry.name)) for entry in DESCRIPTORS.iterdir()]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _written_to(descriptor: int) -> int | None:
    """Return what was written to one descriptor; None for what is no TCP socket, or is closed by now."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as one:
            if one.family not in {socket.AF_INET, socket.AF_INET6} or one.type != socket.SOCK_STREAM:
                return None
            info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LENGTH)
    except OSError:
        return None
    if len(info) < LENGTH:
        return None
    (waiting,) = struct.unpack_from("=I", info, NOT_YET_SENT)
    sent, again = struct.unpack_from("=QQ", info, SENT_AND_AGAIN)
    return int(sent - again + waiting)
