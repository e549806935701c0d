"""The panel beside jupyterlab-nvdashboard, measured in one run: ``make bench-panel``. Needs ``cc``, no GPU.

Both run in servers of their own over the same stub of eight GPUs, in turn, ``--repeats`` times. Measured are

- CPU seconds a minute of the server with 1, 5 and 20 clients at 10 messages a second, and after they left;
- the median time of ``/api/status`` with one client, and while every NVML call blocks 20 ms;
- the CPU use of the machine that 20 clients are told, beside the truth while one core is busy;
- the NVLink traffic that a client is told at 10 messages a second, while the stub counts 50 GB/s.

nvdashboard opens a websocket for each chart: the cheapest one is measured. In the same run a bare tornado
server sends a constant frame of our size to 20 clients: the floor, by the way that the frame leaves. The
medians are printed; ``--out`` keeps every repeat.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.nvml_stub.build import build_stub, set_faults, stub_environment
from tests.workshop_monitor.bench_floor import WAYS, running_floor
from tests.workshop_monitor.bench_peers import FLOOR, OURS, THEIRS, Peer
from tests.workshop_monitor.server import Server, running_server

CLIENTS, HZ, GPUS = (1, 5, 20), 10, "gpus 8"
WARM_UP_S, BLOCK_MS, NVLINK_GB_PER_S, REQUESTS = 2, 20, 50, 100
# Figure of one run by name.
Figures = dict[str, float]


async def listened(
    peer: Peer,
    server: Server,
    path: str,
    clients: int,
    seconds: float,
    begin: Callable[[], None] | None = None,
) -> list[list[Any]]:
    """Return all messages that each client got in ``seconds``, after a warm-up."""
    sockets = [await peer.open(server, path, HZ) for _ in range(clients)]
    heard: list[list[Any]] = [[] for _ in sockets]

    async def listen(index: int) -> None:
        while (message := await sockets[index].read_message()) is not None:
            heard[index].append(json.loads(message))

    listeners = [asyncio.create_task(listen(index)) for index in range(clients)]
    await asyncio.sleep(WARM_UP_S)  # the first sample and the history are not what is measured
    for one in heard:
        one.clear()
    if begin:
        begin()
    await asyncio.sleep(seconds)
    found = [list(one) for one in heard]
    for socket in sockets:
        socket.close()
    await asyncio.gather(*listeners)
    return found


async def cpu_seconds(peer: Peer, server: Server, clients: int, seconds: float) -> tuple[float, float]:
    """Return the server's CPU seconds a minute, and the messages a second of each client."""
    process, before = psutil.Process(server.process.pid), 0.0

    def used() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    def begin() -> None:
        nonlocal before
        before = used()

    heard = await listened(peer, server, peer.gpus, clients, seconds, begin)
    return (used() - before) * 60 / seconds, sum(map(len, heard)) / seconds / clients


def floor_cpu_seconds(way: str, seconds: float) -> float:
    """Return the CPU seconds a minute of a server that does nothing but send, with the most clients."""
    with running_floor(way, HZ) as server:
        return asyncio.run(cpu_seconds(FLOOR, server, max(CLIENTS), seconds))[0]


async def status_ms(peer: Peer, server: Server, control: Path) -> Figures:
    """Return the median time of a request that has nothing to do with GPUs, with one client listening."""
    socket = await peer.open(server, peer.gpus, HZ)
    found = {}
    for block_ms in (0, BLOCK_MS):
        set_faults(control, GPUS, f"block_ms {block_ms}")
        await asyncio.sleep(1)
        name = f"/api/status, ms, NVML calls of {block_ms} ms"
        found[name] = await server.status_p50_ms(REQUESTS if not block_ms else REQUESTS // 4)
    set_faults(control, GPUS)
    socket.close()
    return found


async def cpu_percent_error(peer: Peer, server: Server, seconds: float) -> float:
    """Return by how many points the median of 20 clients is away from the machine's true CPU use."""

    def start_counting() -> None:
        psutil.cpu_percent()

    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        heard = await listened(peer, server, peer.host, max(CLIENTS), seconds, start_counting)
        truth = psutil.cpu_percent()
    finally:
        busy.kill()
        busy.wait()
    told = [
        statistics.mean(value for message in one if (value := peer.cpu_percent(message)) is not None)
        for one in heard
    ]
    return abs(statistics.median(told) - truth)


async def nvlink_error(peer: Peer, server: Server, control: Path) -> float:
    """Return by how many percent the told NVLink traffic of one direction is away from what is counted."""
    set_faults(control, GPUS, f"nvlink_gb_per_s {NVLINK_GB_PER_S}")
    (heard,) = await listened(peer, server, peer.nvlink, 1, 5)
    set_faults(control, GPUS)
    told = statistics.median(rate for message in heard if (rate := peer.nvlink_gb_per_s(message)) is not None)
    return 100 * abs(told / NVLINK_GB_PER_S - 1)


async def measure(peer: Peer, server: Server, control: Path, seconds: float) -> Figures:
    found: Figures = {}
    for clients in CLIENTS:
        used, rate = await cpu_seconds(peer, server, clients, seconds)
        found[f"CPU s/min, {clients} clients"] = used
        found[f"messages/s of each of {clients}"] = rate
    process = psutil.Process(server.process.pid)
    before = process.cpu_times()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    found["CPU s/min, all clients gone"] = (
        (after.user + after.system - before.user - before.system) * 60 / seconds
    )
    found |= await status_ms(peer, server, control)
    found["machine's CPU use, points off"] = await cpu_percent_error(peer, server, seconds)
    found["NVLink, % off"] = await nvlink_error(peer, server, control)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement of CPU time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a JSON file for every repeat")
    arguments = parser.parse_args()
    runs: dict[str, list[Figures]] = {peer.name: [] for peer in (OURS, THEIRS, FLOOR)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        control = folder / "control"
        set_faults(control, GPUS)
        environment = stub_environment(build_stub(folder), control)
        for repeat in range(arguments.repeats):
            for peer in (OURS, THEIRS):
                print(f"{peer.name}, {repeat + 1} of {arguments.repeats} …", flush=True)
                with running_server(
                    folder / f"{repeat}{peer.extension}", environment, peer.extension
                ) as server:
                    runs[peer.name].append(asyncio.run(measure(peer, server, control, arguments.seconds)))
            runs[FLOOR.name].append({way: floor_cpu_seconds(way, arguments.seconds) for way in WAYS})
    print(f"\n{'median of ' + str(arguments.repeats):38} {OURS.name:>18} {THEIRS.name:>12}")
    for figure in runs[OURS.name][0]:
        ours, theirs = (statistics.median(run[figure] for run in runs[peer.name]) for peer in (OURS, THEIRS))
        print(f"{figure:38} {ours:18.2f} {theirs:12.2f}")
    for way in WAYS:
        floor = statistics.median(run[way] for run in runs[FLOOR.name])
        print(f"CPU s/min, bare tornado, by {way:11} {floor:18.2f}")
    if arguments.out:
        arguments.out.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
