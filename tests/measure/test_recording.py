"""``with record(…)``: a block of Python leaves the same trace as ``workshop record``."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.nvml_stub.fixtures import Stub, stub, stub_library
from workshop_utils.errors import WorkshopError
from workshop_utils.measure.recording import record
from workshop_utils.monitor.trace import read_trace

__all__ = ["stub", "stub_library"]
SCRIPT = """
import time
from workshop_utils.measure.recording import record
with record("t.ndjson", hz=5) as recording:
    time.sleep(0.5)
    recording.mark("prefill ended", tokens=7)
    time.sleep(0.7)
"""


def test_a_script_records_its_gpus_with_marks(stub: Stub, tmp_path: Path) -> None:
    stub.set_faults("gpus 2", "utilization 37")
    (tmp_path / "script.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "script.py"], env=stub.environment, cwd=tmp_path, check=True, timeout=60)
    trace = read_trace(tmp_path / "t.ndjson")
    assert trace.header["hardware"][:2] == ["NVIDIA H200 (stub)"] * 2
    assert trace.header["hardware"][2].startswith("CPU")
    assert trace.header["command"][-1] == "script.py"
    assert {"torch", "vllm"} <= trace.header["versions"].keys()
    assert trace.header["hz"] == 5
    assert len(trace.samples) >= 4
    assert [(mark["text"], mark["tokens"]) for mark in trace.marks] == [("prefill ended", 7)]
    assert trace.samples[0]["gpus"]["data"][1]["utilization_percent"] == 37
    assert trace.end is not None
    assert "error" not in trace.end


def test_an_exception_goes_on_and_is_named_in_a_trace_that_is_complete(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), record(tmp_path / "t.ndjson"):
        1 / 0  # noqa: B018
    end = read_trace(tmp_path / "t.ndjson").end
    assert end is not None
    assert end["error"] == "ZeroDivisionError"


def test_an_interrupt_of_the_kernel_leaves_a_complete_trace(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), record(tmp_path / "t.ndjson"):
        raise KeyboardInterrupt
    end = read_trace(tmp_path / "t.ndjson").end
    assert end is not None
    assert end["error"] == "KeyboardInterrupt"


def test_the_name_is_dated_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with record() as recording:
        pass
    assert recording.file.name.startswith("trace-20")
    assert [file.name for file in tmp_path.iterdir()] == [recording.file.name]


def test_one_block_inside_another(tmp_path: Path) -> None:
    with record(tmp_path / "outer.ndjson"):
        with record(tmp_path / "inner.ndjson", hz=10):
            time.sleep(0.3)
        time.sleep(0.2)
    inner, outer = read_trace(tmp_path / "inner.ndjson"), read_trace(tmp_path / "outer.ndjson")
    assert inner.end is not None
    assert outer.end is not None
    assert inner.samples
    assert outer.samples


def test_what_cannot_be_recorded_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.ndjson").write_text("mine")
    for file, hz, sentence in (
        (tmp_path / "t.ndjson", 1, "is there already; give another name"),
        (tmp_path / "no" / "t", 1, "cannot write .*No such file"),
        (tmp_path / "u", 50, "hz=50 is out of range; give 0.2 to 10"),
    ):
        with pytest.raises(WorkshopError, match=sentence), record(file, hz):
            pytest.fail("the block ran")
    assert [file.name for file in tmp_path.iterdir()] == ["t.ndjson"]
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"workshop-trace", "workshop-sampler", "workshop-driver"}
