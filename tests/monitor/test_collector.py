"""The collector over the stub driver: what it says, and that it ends when nobody listens."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.nvml_stub.fixtures import Stub, stub, stub_library
from workshop_utils.monitor import collector
from workshop_utils.monitor.collector import END_SECONDS
from workshop_utils.monitor.node_reading import LONGEST_LINE_BYTES, Assembly, NodeReading

__all__ = ["stub", "stub_library"]

NODE = {"SLURMD_NODENAME": "nb", "CUDA_VISIBLE_DEVICES": "1"}


@contextmanager
def collecting(stub: Stub, code: str | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    words = ["-m", "workshop_utils.monitor.collector"] if code is None else ["-c", code]
    process = subprocess.Popen(
        [sys.executable, "-P", *words], env=stub.environment | NODE, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def next_reading(process: "subprocess.Popen[bytes]", assembly: Assembly) -> NodeReading:
    assert process.stdout is not None
    while True:
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        assert len(line) <= LONGEST_LINE_BYTES
        row = json.loads(line)
        assert row["node"] == "nb"
        if (reading := assembly.take(row)) is not None:
            return reading


def test_says_once_a_second_what_the_node_does(stub: Stub) -> None:
    stub.set_faults("gpus 8", "utilization 37", "lost 3")
    with collecting(stub) as process:
        assembly = Assembly()
        first = next_reading(process, assembly)
        assert [gpu.utilization_percent for gpu in first.gpus] == [37, 37, 37, None, 37, 37, 37, 37]
        assert first.gpus[3].status == "lost"
        assert first.gpus[3].error
        assert [gpu.index for gpu in first.gpus if gpu.mine] == [1]
        assert first.host is not None
        assert first.host.memory_used_bytes
        began, busy = time.monotonic(), sum(psutil.Process(process.pid).cpu_times()[:2])
        readings = [next_reading(process, assembly) for _ in range(4)]
        seconds = time.monotonic() - began
        used = sum(psutil.Process(process.pid).cpu_times()[:2]) - busy
        print(f"{1000 * used / seconds:.1f} ms of CPU a second for 8 GPUs")
        assert 0.7 < readings[-1].time - readings[-2].time < 1.5
        assert used / seconds < 0.05


def test_ends_with_its_input(stub: Stub) -> None:
    with collecting(stub) as process:
        next_reading(process, Assembly())
        began = time.monotonic()
        process.communicate(timeout=10)  # closes it
        assert time.monotonic() - began < END_SECONDS + 1


def test_ends_with_its_input_though_nobody_takes_its_output_and_the_driver_hangs(stub: Stub) -> None:
    stub.set_faults("gpus 8", "block_ms 600000")
    with collecting(stub) as process:
        time.sleep(1)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(END_SECONDS + 8) == 0


def test_ends_when_its_output_is_closed(stub: Stub) -> None:
    with collecting(stub) as process:
        next_reading(process, Assembly())
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_ends_without_beats(stub: Stub) -> None:
    code = "from workshop_utils.monitor import collector; collector.SILENCE_SECONDS = 1.5; collector.main()"
    with collecting(stub, code) as process:
        assert process.stdin is not None
        for _ in range(6):
            process.stdin.write(b"\n")
            process.stdin.flush()
            time.sleep(0.5)
        assert process.poll() is None
        assert process.wait(10) == 0
    assert collector.BEAT_SECONDS * 5 < collector.SILENCE_SECONDS  # a beat or two may come late
