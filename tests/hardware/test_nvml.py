"""The real nvidia-ml-py over a stub library with faults: each is a state with a reason, none an exception."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.nvml_stub.build import no_driver_environment
from workshop_utils.hardware import nvml_reasons
from workshop_utils.hardware.nvml import RETRY_FAULT_SECONDS, RETRY_MISSING_SECONDS, Nvml

ROOT = Path(__file__).parents[2]
# What every program below starts with: a clock to turn, a control file to change, a log to look at.
PROLOGUE = """
import json, logging, os
from pathlib import Path
from tests.nvml_stub.build import set_faults
from workshop_utils.hardware.nvml import RECOUNT_SECONDS, RETRY_FAULT_SECONDS, Nvml
class Clock:
    now = 100.0
    def __call__(self):
        return self.now
clock, records = Clock(), []
handler = logging.Handler()
handler.emit = lambda record: records.append(record.getMessage())
logging.getLogger("workshop_utils").addHandler(handler)
logging.getLogger("workshop_utils").setLevel(logging.DEBUG)
control = Path(os.environ["NVML_STUB_CONTROL"])
nvml, readings = Nvml(clock), []
def faults(*lines):
    set_faults(control, *lines)
def read(times=1):
    for _ in range(times):
        reading = json.loads(json.dumps(nvml.read(), default=vars))
    readings.append(reading)
"""


@pytest.fixture
def readings(stub):
    """Run a scenario and return its readings and what it logged."""

    def run(scenario, **environment):
        start = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
        end = "print(json.dumps([readings, records]))"
        return json.loads(stub.run_python("\n".join([start, PROLOGUE, scenario, end]), **environment))

    return run


def test_healthy_gpus_report_everything_and_move(readings):
    (first, second), log = readings("read(); import time; time.sleep(0.3); read()")
    assert first["status"] == "ok"
    assert [gpu["index"] for gpu in first["data"]] == [0, 1]
    gpu = first["data"][1]
    assert gpu["uuid"] == "GPU-57ab0000-0000-4000-8000-000000000001"
    assert (gpu["name"], gpu["status"], gpu["error"]) == ("NVIDIA H200 (stub)", "ok", None)
    assert 0 <= gpu["utilization_percent"] <= 100
    assert 0 < gpu["memory_used_bytes"] < gpu["memory_total_bytes"] == 150754820096
    assert gpu["not_reported"] == {}
    assert second["data"][0]["memory_used_bytes"] != first["data"][0]["memory_used_bytes"]
    assert log == []


def test_power_clocks_and_temperature_have_their_units(readings):
    (reading,), _ = readings("faults('gpus 2', 'throttle 36'); read()")
    gpu = reading["data"][1]
    assert 200 <= gpu["power_watts"] <= 400
    assert gpu["power_limit_watts"] == 700
    assert (gpu["temperature_celsius"], gpu["sm_clock_mhz"], gpu["memory_clock_mhz"]) == (46, 1980, 2619)
    assert gpu["throttle_reasons"] == ["power limit", "temperature, by software"]


def test_energy_is_power_over_the_time_that_passed(readings):
    (first, second, late), _ = readings("read(); clock.now += 2; read(); clock.now += 60; read()")
    first, second, late = (each["data"][0] for each in (first, second, late))
    assert first["energy_joules"] == 0
    mean = (first["power_watts"] + second["power_watts"]) / 2
    assert second["energy_joules"] == pytest.approx(2 * mean)
    assert late["energy_joules"] == second["energy_joules"]  # nobody looked for a minute


def test_clocks_that_nothing_holds_back_have_no_reason(readings):
    (reading,), _ = readings("faults('gpus 1', 'throttle 1'); read()")  # idle, which holds nothing back
    assert reading["data"][0]["throttle_reasons"] == []


def test_traffic_is_the_counters_growth_over_the_time_that_passed(readings):
    (first, second), _ = readings(
        "faults('gpus 1', 'nvlink_gb_per_s 50', 'pcie_gb_per_s 20'); read()\n"
        "import time; time.sleep(0.35); clock.now += 1; read()"
    )
    for field, rate in (("nvlink", 50e9), ("pcie", 20e9)):
        for way in ("tx", "rx"):
            name = f"{field}_{way}_bytes_per_s"
            assert first["data"][0][name] is None
            assert second["data"][0][name] == pytest.approx(rate, rel=0.001)


def test_counters_that_began_anew_are_no_negative_rate(readings):
    (_, before, after), _ = readings(
        "import time\nfaults('gpus 1', 'unsupported gpm', 'nvlink_gb_per_s 50'); read()\n"
        "time.sleep(0.05); clock.now += 1; read()\n"
        "time.sleep(0.05); clock.now += 1; "
        "faults('gpus 1', 'unsupported gpm', 'nvlink_gb_per_s 1'); read()"
    )
    assert before["data"][0]["nvlink_tx_bytes_per_s"] == pytest.approx(50e9, rel=0.01)
    assert after["data"][0]["nvlink_tx_bytes_per_s"] is None


def test_activity_of_the_chip_is_counted_between_two_samples(readings):
    (first, soon, later), _ = readings("read(); clock.now += 0.1; read(); clock.now += 0.9; read()")
    busy = [
        [reading["data"][0][name] for name in ("sm_percent", "tensor_percent", "dram_percent")]
        for reading in (first, soon, later)
    ]
    assert busy == [[None] * 3, [None] * 3, [40, 20, 60]]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_activity_that_is_no_number_is_missing_and_comes_back(readings, value):
    (_, broken, healed), log = readings(
        "import pynvml\n"
        "answer = pynvml.nvmlGpmMetricsGet\n"
        "def odd(request):\n"
        "    answer(request)\n"
        "    for place in (0, 3):\n"  # sm_percent and pcie_tx_bytes_per_s
        f"        request.metrics[place].value = float('{value}')\n"
        "    return request\n"
        "faults('gpus 1'); read()\n"
        "pynvml.nvmlGpmMetricsGet = odd; clock.now += 1; read()\n"
        "pynvml.nvmlGpmMetricsGet = answer; clock.now += 1; read()"
    )
    gpu = broken["data"][0]
    assert (gpu["sm_percent"], gpu["tensor_percent"], gpu["pcie_tx_bytes_per_s"]) == (None, 20, None)
    assert set(gpu["not_reported"]) == {"sm_percent", "pcie_tx_bytes_per_s"}
    assert len(log) == 2
    gpu = healed["data"][0]
    assert (gpu["sm_percent"], gpu["not_reported"]) == (40, {})


def test_processes_are_named_with_their_memory_where_the_driver_tells(readings):
    (told, hidden), _ = readings(
        "faults('gpus 2', 'process 77', 'process 78', 'process_bytes 5000'); read()\n"
        "faults('gpus 2', 'process 77', 'hidden_bytes 1'); clock.now += 3; read()"
    )
    assert told["data"][0]["processes"] == [
        {"pid": 77, "memory_bytes": 5000}, {"pid": 78, "memory_bytes": 5000},
    ]  # fmt: skip
    assert told["data"][1]["processes"] == []
    assert hidden["data"][0]["processes"] == [{"pid": 77, "memory_bytes": None}]


def test_what_changes_slowly_is_asked_every_three_seconds(readings):
    (_, soon, later), _ = readings(
        "faults('gpus 1', 'throttle 0', 'utilization 1'); read()\n"
        "faults('gpus 1', 'throttle 4', 'utilization 2'); clock.now += 0.1; read(); clock.now += 3; read()"
    )
    seen = [
        (gpu["utilization_percent"], gpu["throttle_reasons"]) for gpu in (soon["data"][0], later["data"][0])
    ]
    assert seen == [(2, []), (2, ["power limit"])]


def test_energy_grows_with_time_and_is_none_where_it_is_not_reported(readings):
    scenario = """
import time
uuid = nvml.read().data[0].uuid
before = nvml.energy_joules(uuid)
time.sleep(0.2)
readings.append([nvml.energy_joules(uuid.removeprefix("GPU-")) - before, nvml.energy_joules("GPU-other")])
faults("unsupported energy")
readings.append(nvml.energy_joules(uuid))
"""
    ((used, of_another), not_reported), _ = readings(scenario)
    assert used >= 0.2 * 300
    assert of_another is None
    assert not_reported is None


def test_memory_leaves_out_what_the_driver_reserves_like_nvidia_smi(readings):
    (new, old), _ = readings(
        "faults('gpus 1', 'memory_used 1000'); read()\n"
        "faults('gpus 1', 'memory_used 1000', 'unsupported memory_v2'); read()"
    )
    assert new["data"][0]["memory_used_bytes"] == 1000
    assert old["data"][0]["memory_used_bytes"] == 1000 + 650 * 2**20  # an old driver only has this form


@pytest.mark.parametrize(
    ("figure", "fields"),
    [
        ("utilization", {"utilization_percent"}),
        ("memory", {"memory_used_bytes", "memory_total_bytes"}),
        ("power", {"power_watts", "power_limit_watts", "energy_joules"}),
        ("temperature", {"temperature_celsius"}),
        ("clocks", {"sm_clock_mhz", "memory_clock_mhz"}),
        ("throttle", {"throttle_reasons"}),
        ("processes", {"processes"}),
    ],
)
def test_figure_that_is_not_supported_is_named_and_logged_once(readings, figure, fields):
    (reading,), log = readings(f"faults('gpus 1', 'unsupported {figure}'); read(100)")
    gpu = reading["data"][0]
    assert gpu["status"] == "ok"
    assert gpu["not_reported"] == dict.fromkeys(fields, "Not Supported")
    for field in ("utilization_percent", "memory_used_bytes", "memory_total_bytes", "power_watts"):
        assert (gpu[field] is None) == (field in fields)
    assert len(log) == len(fields)


def test_gpus_before_hopper_say_that_they_do_not_count_their_activity(readings):
    (reading,), _ = readings("faults('gpus 1', 'unsupported gpm'); read(3)")
    gpu = reading["data"][0]
    names = ("sm_percent", "tensor_percent", "dram_percent")
    assert gpu["not_reported"] == dict.fromkeys(names, "only Hopper and later GPUs count this")
    assert gpu["power_watts"] > 0


def test_a_divided_gpu_shows_its_instances(readings):
    (first, second), _ = readings("faults('gpus 2', 'mig 0', 'process 77'); read(); clock.now += 1; read()")
    whole, other = second["data"]
    assert (whole["status"], whole["utilization_percent"]) == ("ok", None)
    assert whole["not_reported"]["utilization_percent"] == "Not Supported"
    assert whole["memory_total_bytes"] == 150754820096
    one, two = whole["mig"]
    assert one == {
        "uuid": "MIG-57ab0000-0000-4000-8000-000000001000", "name": "1g.18gb", "memory_used_bytes": 9 * 2**30,
        "memory_total_bytes": 18 * 2**30, "sm_percent": 40,
        "processes": [{"pid": 77, "memory_bytes": 2**30}],
    }  # fmt: skip
    assert (two["uuid"][-4:], two["processes"]) == ("1001", [])
    assert [each["sm_percent"] for each in first["data"][0]["mig"]] == [None, None]  # a first sample
    assert other["mig"] is None


def test_instances_without_gpm_have_no_activity(readings):
    (_, reading), _ = readings("faults('gpus 1', 'mig 0', 'unsupported gpm'); read(); clock.now += 1; read()")
    assert [(each["sm_percent"], each["memory_used_bytes"]) for each in reading["data"][0]["mig"]] == [
        (None, 9 * 2**30)
    ] * 2


def test_a_driver_without_counters_names_both_ways_of_nvlink(readings):
    (reading,), _ = readings("faults('gpus 1', 'unsupported gpm', 'unsupported fields'); read()")
    assert {"nvlink_tx_bytes_per_s", "nvlink_rx_bytes_per_s"} <= set(reading["data"][0]["not_reported"])


def test_gpus_before_hopper_count_pcie_at_once(readings):
    (reading,), _ = readings("faults('gpus 1', 'unsupported gpm', 'pcie_gb_per_s 20'); read()")
    for way in ("tx", "rx"):
        assert reading["data"][0][f"pcie_{way}_bytes_per_s"] == pytest.approx(20e9, rel=0.001)


@pytest.mark.parametrize("without", ["", ", 'unsupported gpm'"])
@pytest.mark.parametrize("link", ["pcie", "nvlink"])
def test_a_link_that_is_not_supported_is_named_and_logged_once(readings, link, without):
    (_, reading), log = readings(
        f"faults('gpus 1', 'unsupported {link}'{without}); read(); clock.now += 1; read(100)"
    )
    gpu = reading["data"][0]
    for field in (f"{link}_tx_bytes_per_s", f"{link}_rx_bytes_per_s"):
        assert gpu["not_reported"][field] == "Not Supported"
        assert gpu[field] is None
    assert sum(link in line for line in log) == 2


def test_gpu_without_a_name_still_reports(readings):
    (reading,), _ = readings(
        "faults('gpus 1', 'unsupported name', 'unsupported uuid', 'utilization 37'); read()"
    )
    gpu = reading["data"][0]
    assert (gpu["name"], gpu["uuid"], gpu["utilization_percent"]) == (None, None, 37)


def test_gpu_that_is_lost_keeps_its_name_hides_no_other_and_comes_back(readings):
    (before, lost, still, back), log = readings(
        "read(); faults('gpus 2', 'lost 1'); read(100)\n"
        "clock.now += RETRY_FAULT_SECONDS; read(100)\n"
        "faults('gpus 2'); clock.now += RETRY_FAULT_SECONDS; read()"
    )
    for reading in (lost, still):
        healthy, gone = reading["data"]
        assert healthy["status"] == "ok"
        assert healthy["memory_used_bytes"] > 0
        assert gone["status"] == "lost"
        assert (gone["name"], gone["uuid"]) == ("NVIDIA H200 (stub)", before["data"][1]["uuid"])
        assert gone["utilization_percent"] is gone["memory_used_bytes"] is None
        assert "fallen off the bus" in gone["error"]
    assert [gpu["status"] for gpu in back["data"]] == ["ok", "ok"]
    assert len(log) == 1


def test_gpu_of_another_job_is_unavailable_and_not_asked_again(readings):
    (reading,), log = readings("faults('gpus 2', 'denied 0'); read(50)")
    assert [gpu["status"] for gpu in reading["data"]] == ["unavailable", "ok"]
    assert "another job" in reading["data"][0]["error"]
    assert len(log) == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (nvml_reasons.DRIVER_NOT_LOADED, "driver is not loaded"),
        (nvml_reasons.LIB_RM_VERSION_MISMATCH, "different versions"),
        (nvml_reasons.NO_PERMISSION, "refuses this user"),
        (nvml_reasons.UNKNOWN, "NVML error 999"),
        (4242, "NVML error 4242"),
    ],
)
def test_failed_initialisation_is_a_reason_that_heals(readings, code, words):
    (failed, too_soon, healed), log = readings(
        f"faults('init {code}'); read(50); faults('gpus 1'); read(); clock.now += RETRY_FAULT_SECONDS; read()"
    )
    assert (failed["status"], failed["data"]) == ("unavailable", None)
    assert words in failed["error"]
    assert too_soon == failed
    assert healed["data"][0]["status"] == "ok"
    assert log == [failed["error"]]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (nvml_reasons.DRIVER_NOT_LOADED, "driver is not loaded"),
        (nvml_reasons.LIB_RM_VERSION_MISMATCH, "different versions"),
        (nvml_reasons.LIBRARY_NOT_FOUND, "NVML error 12"),
        (nvml_reasons.UNKNOWN, "NVML error 999"),
    ],
)
def test_driver_that_fails_after_a_healthy_start_is_a_reason_that_heals(readings, code, words):
    (healthy, failed, still, healed), log = readings(
        f"faults('gpus 1'); read(); faults('gpus 1', 'fail {code}'); read(50)\n"
        "clock.now += RETRY_FAULT_SECONDS; read(50)\n"
        "faults('gpus 1'); clock.now += RETRY_FAULT_SECONDS; read()"
    )
    assert failed == still
    at_fault = failed if failed["data"] is None else failed["data"][0]
    assert at_fault["status"] == "unavailable"
    assert words in at_fault["error"]
    if failed["data"] is not None:
        assert at_fault["name"] == healthy["data"][0]["name"]
    assert healed["data"][0]["status"] == "ok"
    assert healed["data"][0]["memory_used_bytes"] > 0
    assert log == [at_fault["error"]]


def test_driver_that_is_gone_and_does_not_start_again_says_so_once(readings):
    (_, failed, still), log = readings(
        "read(); faults('gpus 2', 'fail 9', 'init 9'); read()\nclock.now += RETRY_FAULT_SECONDS; read(50)"
    )
    assert failed == still
    assert log == [failed["error"]]


def test_number_of_gpus_that_changes_is_noticed(readings):
    (two, soon, three, one), log = readings(
        "read(); faults('gpus 3'); read()\n"
        "clock.now += RECOUNT_SECONDS; read()\n"
        "faults('gpus 1'); clock.now += RECOUNT_SECONDS; read()"
    )
    assert [len(reading["data"]) for reading in (two, soon, three, one)] == [2, 2, 3, 1]
    assert log == []


def test_driver_without_a_gpu_says_what_to_ask_for(readings):
    (reading,), _ = readings("faults('gpus 0'); read()")
    assert reading["error"] == nvml_reasons.NO_GPU


def test_no_library_is_a_reason_and_is_looked_for_rarely(readings, tmp_path):
    (none, soon), log = readings(
        "import pynvml\nread(50); pynvml.nvmlInit = None; clock.now += RETRY_FAULT_SECONDS; read()",
        **no_driver_environment(tmp_path),
    )
    assert none["error"] == soon["error"] == nvml_reasons.NO_DRIVER
    assert log == [nvml_reasons.NO_DRIVER]
    assert RETRY_MISSING_SECONDS > 10 * RETRY_FAULT_SECONDS


def test_nvml_shut_down_by_others_in_the_process_is_started_again(readings):
    (_, gone, back), _ = readings("read(); __import__('pynvml').nvmlShutdown(); read(); read()")
    assert gone["error"] == nvml_reasons.RESTARTING
    assert back["status"] == "ok"


def test_close_leaves_the_nvml_of_others_alone_and_read_starts_again(readings):
    ((first, again), others), _ = readings(
        "import pynvml; pynvml.nvmlInit()\n"
        "read(); nvml.close(); nvml.close(); count = pynvml.nvmlDeviceGetCount(); read()\n"
        "readings = [readings, count]"
    )
    assert first["status"] == again["status"] == "ok"
    assert others == 2


def test_import_touches_neither_binding_nor_library(stub):
    loaded = stub.run_python("import sys, workshop_utils.monitor.sampler; print(*sys.modules)").split()
    assert "workshop_utils.hardware.nvml" in loaded
    assert not {"pynvml", "psutil"} & set(loaded)


def test_two_readers_never_call_the_driver_at_the_same_time(readings):
    readings(
        "import threading\nfaults('gpus 2', 'block_ms 1', 'alone 1')\n"
        "def look():\n"
        "    for _ in range(3):\n"
        "        other = Nvml(clock); other.read(); other.driver_version(); other.close()\n"
        "threads = [threading.Thread(target=look) for _ in range(3)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()"
    )


def test_missing_binding_is_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Nvml().read().error == nvml_reasons.NO_BINDING


def test_names_of_old_bindings_are_bytes(monkeypatch):
    error = type("NVMLError", (Exception,), {})
    old = SimpleNamespace(
        NVMLError=error,
        NVML_ERROR_LIBRARY_NOT_FOUND=12,
        nvmlMemory_v2=1,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda _: b"GPU-1",
        nvmlDeviceGetName=lambda _: b"Tesla V100\xff",
        nvmlDeviceGetMemoryInfo=lambda *_: SimpleNamespace(used=1, total=2),
    )
    monkeypatch.setitem(sys.modules, "pynvml", old)
    gpu = Nvml().read().data[0]
    assert (gpu.uuid, gpu.name, gpu.memory_used_bytes) == ("GPU-1", "Tesla V100\ufffd", 1)
    assert "utilization_percent" in gpu.not_reported  # a function that this binding lacks


@pytest.mark.parametrize(
    "reason",
    [
        nvml_reasons.NO_DRIVER,
        nvml_reasons.NO_GPU,
        nvml_reasons.NO_BINDING,
        *(nvml_reasons.of_initialisation(code, "words") for code in (4, 9, 12, 18, 999)),
        *(nvml_reasons.of_device(code, 0, "H200")[1] for code in (4, 9, 12, 15, 16, 18, 999)),
    ],
)
def test_reason_is_one_sentence(reason):
    assert reason.endswith(".")
    assert ". " not in reason
    assert len(reason) < 220
