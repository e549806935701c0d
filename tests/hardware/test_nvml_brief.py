"""The brief reader over the stub: few figures, and the whole reader's words when something is wrong."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROLOGUE = """
import json, os
from pathlib import Path
from tests.nvml_stub.build import set_faults
from workshop_utils.hardware.nvml import RETRY_FAULT_SECONDS, Nvml
from workshop_utils.hardware.nvml_brief import BriefNvml
class Clock:
    now = 100.0
    def __call__(self):
        return self.now
clock, control, readings = Clock(), Path(os.environ["NVML_STUB_CONTROL"]), []
nvml = BriefNvml(clock)
def faults(*lines):
    set_faults(control, *lines)
def read():
    readings.append(json.loads(json.dumps(nvml.read(), default=vars)))
"""


@pytest.fixture
def readings(stub):
    def run(scenario):
        start = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
        return json.loads(
            stub.run_python("\n".join([start, PROLOGUE, scenario, "print(json.dumps(readings))"]))
        )

    return run


def test_after_a_whole_reading_three_figures_are_asked(readings):
    whole, brief = readings("faults('gpus 2', 'utilization 37', 'memory_used 1000'); read(); read()")
    assert whole["data"][0]["temperature_celsius"] is not None
    first, second = brief["data"]
    assert (first["utilization_percent"], first["memory_used_bytes"]) == (37, 1000)
    assert first["power_watts"] > 0
    assert first["temperature_celsius"] is None
    assert first["energy_joules"] is None
    for name in ("uuid", "name", "memory_total_bytes", "power_limit_watts", "not_reported"):
        assert second[name] == whole["data"][1][name]


def test_what_was_not_reported_is_not_asked_again(readings):
    _, brief = readings("faults('gpus 1', 'unsupported power', 'unsupported memory_v2'); read(); read()")
    (gpu,) = brief["data"]
    assert gpu["status"] == "ok"
    assert gpu["power_watts"] is None
    assert "power_watts" in gpu["not_reported"]
    # The second form of the memory is missing: the whole reader falls back to the first.
    assert gpu["memory_used_bytes"] > 0


def test_a_lost_gpu_is_judged_by_the_whole_reader_and_comes_back(readings):
    _, lost, back, brief = readings(
        "read(); faults('gpus 2', 'lost 1'); read()\n"
        "faults('gpus 2'); clock.now += RETRY_FAULT_SECONDS; read(); read()"
    )
    assert [gpu["status"] for gpu in lost["data"]] == ["ok", "lost"]
    assert "has fallen off the bus" in lost["data"][1]["error"]
    assert [gpu["status"] for gpu in back["data"]] == ["ok", "ok"]
    assert brief["data"][1]["power_watts"] > 0


def test_a_driver_that_goes_away_is_a_reason(readings):
    _, gone = readings("read(); faults('fail 9', 'init 9'); read()")
    assert (gone["status"], gone["data"]) == ("unavailable", None)
