"""Two hundred clients for half an hour, two of which never read: ``make bench-soak``. Needs ``cc``, no GPU.

One server over the stub of eight GPUs. Each minute a line tells the server's memory and CPU seconds, how many
samples a reading client got, and how late they were: from the moment that a sample was taken to its arrival.
At the end the first minutes are compared with the last. ``--out`` keeps every minute.
"""

import argparse
import asyncio
import json
import resource
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.nvml_stub.build import build_stub, set_faults, stub_environment
from tests.workshop_monitor.server import TOKEN, Server, running_server

GPUS, HZ = "gpus 8", 1.0
# A client that never reads takes what fits into both sockets' buffers; then the server has to hold back.
SMALL_BUFFER_BYTES = 4096
Minute = dict[str, float]


class Reader:
    """A client that reads, and notes how late each sample came."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []

    async def read(self, server: Server) -> None:
        stream = await server.stream(HZ)
        while (message := await stream.read_message()) is not None:
            if '"kind": "sample"' in message[:60] or '"kind":"sample"' in message[:60]:
                self.late_ms.append(1000 * (time.time() - json.loads(message)["time"]))


def client_that_never_reads(server: Server) -> socket.socket:
    """Open a stream and leave all that comes lying."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    own.connect(("127.0.0.1", server.port))
    own.sendall(
        f"GET /workshop-monitor/stream?hz={HZ:g} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: token {TOKEN}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    return own


async def soak(server: Server, clients: int, silent: int, minutes: float, every_s: float) -> list[Minute]:
    """Return a line for each ``every_s`` seconds."""
    readers = [Reader() for _ in range(clients - silent)]
    reading = []
    for reader in readers:
        reading.append(asyncio.create_task(reader.read(server)))
        await asyncio.sleep(0.02)
    lying = [client_that_never_reads(server) for _ in range(silent)]
    process = psutil.Process(server.process.pid)
    rows: list[Minute] = []
    started = time.monotonic()
    while time.monotonic() - started < 60 * minutes:
        before = cpu_seconds(process)
        for reader in readers:
            reader.late_ms.clear()
        await asyncio.sleep(every_s)
        gone = [task.exception() for task in reading if task.done() and not task.cancelled()]
        if gone:
            raise RuntimeError(f"{len(gone)} readers ended: {gone[0]}")
        late = sorted(each for reader in readers for each in reader.late_ms)
        rows.append(
            {
                "minute": (time.monotonic() - started) / 60,
                "server_bytes": process.memory_info().rss,
                "cpu_s_a_minute": 60 * (cpu_seconds(process) - before) / every_s,
                "samples_a_reader": len(late) / len(readers),
                "fewest_samples": min(len(reader.late_ms) for reader in readers),
                "late_ms_median": statistics.median(late),
                "late_ms_p99": late[int(0.99 * len(late))],
            }
        )
        print(json.dumps({name: round(value, 2) for name, value in rows[-1].items()}), flush=True)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    for each in lying:
        each.close()
    return rows


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def said(rows: list[Minute]) -> str:
    """Compare the second to fifth line with the last four: the first still fills buffers and caches."""
    first, last = rows[1:5] or rows, rows[-4:]

    def middle(lines: list[Minute], name: str) -> float:
        return statistics.median(line[name] for line in lines)

    grown = middle(last, "server_bytes") - middle(first, "server_bytes")
    return (
        f"server's memory {middle(last, 'server_bytes') / 2**20:.0f} MiB, {grown / 2**20:+.1f} MiB since the "
        f"beginning; samples late by {middle(first, 'late_ms_median'):.1f} ms (99 %: "
        f"{middle(first, 'late_ms_p99'):.0f}) at the beginning, {middle(last, 'late_ms_median'):.1f} "
        f"({middle(last, 'late_ms_p99'):.0f}) at the end; the slowest reader got "
        f"{min(line['fewest_samples'] for line in rows[1:] or rows):.0f} samples in a line's time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--silent", type=int, default=2, help="clients among them that never read")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=60, help="seconds a line")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most), most))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build_stub(folder)
        control = folder / "control"
        set_faults(control, GPUS)
        environment = stub_environment(folder, control)
        with running_server(folder / "server", environment, "workshop_monitor") as server:
            job = soak(server, arguments.clients, arguments.silent, arguments.minutes, arguments.every)
            rows: list[Any] = asyncio.run(job)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(said(rows))


if __name__ == "__main__":
    main()
