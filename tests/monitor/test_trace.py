"""Traces: written while something runs, read again, and what a damaged or cut one says."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.nvml_stub.fixtures import Stub, stub, stub_library
from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.trace import read_trace
from workshop_utils.monitor.trace_summary import gpu_summaries
from workshop_utils.monitor.trace_writer import TraceWriter

__all__ = ["stub", "stub_library"]
HEAD = {"version": 1, "kind": "trace", "hz": 1.0}


class Gpus:
    """A GPU whose memory grows with each reading, and which says what throttles it at the third."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self) -> Reading[tuple[GpuReading, ...]]:
        self.reads += 1
        held = ["power limit"] if self.reads == 3 else []
        gpu = GpuReading(
            0, "GPU-1", "H100", memory_used_bytes=1000 * self.reads, memory_total_bytes=10**6,
            power_watts=100.0, energy_joules=50.0 * self.reads, throttle_reasons=held,
        )  # fmt: skip
        return Reading.of((gpu,))

    def close(self) -> None: ...


class NoHost:
    def read(self) -> Reading[None]:
        return Reading.missing("not here")

    def close(self) -> None: ...


def recorded(file: Path, seconds: float = 0.6, hz: float = 10) -> TraceWriter:
    sampler = Sampler(Gpus(), NoHost())
    writer = TraceWriter(file, sampler, hz, {"command": ["x"], "hardware": ["H100"]})
    writer.start()
    time.sleep(seconds / 2)
    writer.mark("prefill ended", cell=3)
    time.sleep(seconds / 2)
    writer.stop(exit_code=0)
    sampler.stop()
    return writer


def test_a_trace_comes_back_with_its_header_samples_marks_and_end(tmp_path: Path) -> None:
    recorded(tmp_path / "t.ndjson")
    trace = read_trace(tmp_path / "t.ndjson")
    assert trace.header["command"] == ["x"]
    assert trace.header["hz"] == 10
    assert len(trace.samples) >= 4
    assert [(mark["text"], mark["cell"]) for mark in trace.marks] == [("prefill ended", 3)]
    assert trace.samples[0]["time"] < trace.marks[0]["time"] < trace.samples[-1]["time"]
    assert trace.end is not None
    assert trace.end["exit_code"] == 0
    series = trace.gpu_series(0, "memory_used_bytes")
    assert [value for _, value in series] == sorted(value for _, value in series if value)
    assert trace.gpu_series(7, "memory_used_bytes")[0][1] is None


def test_a_trace_is_summed_up_per_gpu(tmp_path: Path) -> None:
    recorded(tmp_path / "t.ndjson")
    trace = read_trace(tmp_path / "t.ndjson")
    (gpu,) = gpu_summaries(trace)
    peaks = [value for _, value in trace.gpu_series(0, "memory_used_bytes")]
    assert gpu["peak_memory_bytes"] == max(value for value in peaks if value)
    assert gpu["mean_power_watts"] == 100.0
    assert gpu["joules"] == 50.0 * (len(trace.samples) - 1)
    assert gpu["mean_sm_percent"] is None
    assert gpu["throttled_by"] == ["power limit"]


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    recorded(tmp_path / "t.ndjson", seconds=0.2)
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"workshop-trace", "workshop-sampler", "workshop-driver"}


def test_a_recording_that_was_killed_is_read_without_its_cut_line(tmp_path: Path) -> None:
    recorded(tmp_path / "t.ndjson")
    whole = (tmp_path / "t.ndjson").read_text().splitlines()
    (tmp_path / "cut.ndjson").write_text("\n".join([*whole[:-1], whole[-2][:40]]))
    trace = read_trace(tmp_path / "cut.ndjson")
    assert trace.end is None
    assert len(trace.samples) == len(read_trace(tmp_path / "t.ndjson").samples)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no trace"),
        ('{"kind": "sample"}\n', "is no trace"),
        ("[1]\n[2]\n", "is no trace"),
        (json.dumps({**HEAD, "version": 9}), "has version 9 and this workshop reads 1"),
    ],
)
def test_what_is_no_trace_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "t.ndjson").write_text(text)
    with pytest.raises(WorkshopError, match=sentence):
        read_trace(tmp_path / "t.ndjson")


def test_a_trace_that_is_missing_or_binary_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match=r"cannot read the trace .* \(No such file"):
        read_trace(tmp_path / "none")
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkshopError, match="is no trace"):
        read_trace(tmp_path / "b")


def test_nothing_is_overwritten_and_a_missing_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.ndjson").write_text("mine")
    sampler = Sampler(Gpus(), NoHost())
    with pytest.raises(WorkshopError, match="is there already; give another name"):
        TraceWriter(tmp_path / "t.ndjson", sampler, 1, {}).start()
    with pytest.raises(WorkshopError, match=r"cannot write .*No such file"):
        TraceWriter(tmp_path / "no" / "t", sampler, 1, {}).start()
    assert (tmp_path / "t.ndjson").read_text() == "mine"


def record(*words: str, env: dict[str, str] | None = None, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "workshop_utils", "record", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=env or os.environ, cwd=cwd
    )


def test_record_keeps_the_commands_output_and_exit_code(stub: Stub, tmp_path: Path) -> None:
    stub.set_faults("gpus 2", "utilization 37", f"memory_used {5 * 2**30}", "throttle 4")
    script = "import sys, time; print('said'); time.sleep(1.6); sys.exit(3)"
    done = record(
        "--out", "t.ndjson", "--hz", "5", "--", sys.executable, "-c", script,
        env=stub.environment, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "said\n")
    assert "GPU 1 (NVIDIA H200 (stub)): peak memory 5.0 GiB, utilisation 37 %, SMs 40 %" in done.stderr
    assert "held back by power limit" in done.stderr
    trace = read_trace(tmp_path / "t.ndjson")
    assert trace.header["hardware"][:2] == ["NVIDIA H200 (stub)"] * 2
    assert trace.header["command"][0] == sys.executable
    assert 5 <= len(trace.samples) <= 12
    summary = gpu_summaries(trace)[0]
    assert summary["joules"] == pytest.approx(300 * trace.seconds, rel=0.7)


def test_record_as_json_and_without_a_gpu(tmp_path: Path) -> None:
    done = record(
        "--json", "--out", "t.ndjson", "--", sys.executable, "-c", "import time; time.sleep(1)", cwd=tmp_path
    )
    found = json.loads(done.stdout)
    assert (found["exit_code"], found["trace"], found["gpus"]) == (0, "t.ndjson", [])


def test_sigterm_reaches_the_command_and_the_trace_is_complete(tmp_path: Path) -> None:
    script = "import time; print('up', flush=True); time.sleep(60)"
    command = [sys.executable, "-m", "workshop_utils", "record", "--out", "t.ndjson", "--"]
    process = subprocess.Popen(
        [*command, sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM
    assert read_trace(tmp_path / "t.ndjson").end is not None


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--"], 2, "there is no command to record"),
        (["--hz", "50", "--", "true"], 2, "--hz 50 is out of range"),
        (["--out", "no/t", "--", "true"], 2, "cannot write no/t"),
        (["--out", "a", "--", "no-such-command"], 127, "there is no command 'no-such-command'"),
    ],
)
def test_what_cannot_be_recorded_is_one_sentence(
    tmp_path: Path, words: list[str], code: int, sentence: str
) -> None:
    done = record(*words, cwd=tmp_path)
    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
