"""What the stream costs: ``python tests/workshop_monitor/bench_stream.py [SECONDS]``. Needs ``cc``, no GPU.

CPU seconds a minute of the server process with 1, 5 and 20 clients at 10 samples a second over 8 stub GPUs,
and with none; then the median time of ``/api/status`` while NVML calls block 20 ms, and while they do not.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.nvml_stub.build import build_stub, set_faults, stub_environment
from tests.workshop_monitor.server import Server, running_server

CLIENTS = (0, 1, 5, 20)


async def measure_cpu(server: Server, clients: int, seconds: float) -> None:
    streams = [await server.stream(hz=10) for _ in range(clients)]
    heard = [0] * clients

    async def listen(index: int) -> None:
        while await streams[index].read_message() is not None:
            heard[index] += 1

    listeners = [asyncio.create_task(listen(index)) for index in range(clients)]
    await asyncio.sleep(2)  # the first sample and the history are not what is measured
    process = psutil.Process(server.process.pid)
    before, heard_before = process.cpu_times(), sum(heard)
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    used = (after.user + after.system - before.user - before.system) * 60 / seconds
    rate = (sum(heard) - heard_before) / seconds
    print(f"{clients:3} clients: {used:5.2f} CPU seconds a minute, {rate:6.1f} frames a second", flush=True)
    for stream in streams:
        stream.close()
    await asyncio.gather(*listeners)


async def measure(server: Server, control: Path, seconds: float) -> None:
    for clients in CLIENTS:
        await measure_cpu(server, clients, seconds)
    stream = await server.stream(hz=10)
    for block_ms in (0, 20):
        set_faults(control, "gpus 8", f"block_ms {block_ms}")
        await asyncio.sleep(1)
        median_ms = await server.status_p50_ms(200)
        print(f"/api/status p50 {median_ms:.2f} ms with NVML calls that block {block_ms} ms", flush=True)
    stream.close()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        control = folder / "control"
        set_faults(control, "gpus 8")
        environment = stub_environment(build_stub(folder), control)
        with running_server(folder / "home", environment, "workshop_monitor") as server:
            asyncio.run(measure(server, control, seconds))


if __name__ == "__main__":
    main()
