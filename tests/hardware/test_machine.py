"""What is in this machine, over the stub."""

import json

from tests.nvml_stub.build import no_driver_environment
from workshop_utils.hardware import nvml_reasons

PROGRAM = """
import json
from workshop_utils.hardware.machine import find_machine
print(json.dumps(find_machine(), default=vars))
"""


def test_gpus_with_what_the_driver_says(stub):
    found = json.loads(stub.run_python(PROGRAM))
    assert (found["driver_version"], found["cuda_version"], found["no_gpu_reason"]) == (
        "580.00.stub",
        [13, 0],
        None,
    )
    assert [gpu["index"] for gpu in found["gpus"]] == [0, 1]
    gpu = found["gpus"][0]
    assert (gpu["name"], gpu["compute_capability"], gpu["fault"]) == ("NVIDIA H200 (stub)", [9, 0], None)
    assert gpu["memory_total_bytes"] == 150754820096


def test_one_lost_gpu_leaves_the_other(stub):
    stub.set_faults("gpus 2", "lost 0")
    found = json.loads(stub.run_python(PROGRAM))
    assert "fallen off" in found["gpus"][0]["fault"]
    assert found["gpus"][1]["fault"] is found["no_gpu_reason"] is None


def test_only_a_lost_gpu_is_none_and_says_so(stub):
    stub.set_faults("gpus 1", "lost 0")
    found = json.loads(stub.run_python(PROGRAM))
    assert found["no_gpu_reason"] == found["gpus"][0]["fault"]
    assert found["gpus"][0]["compute_capability"] is None


def test_no_driver_is_a_reason(stub, tmp_path):
    found = json.loads(stub.run_python(PROGRAM, **no_driver_environment(tmp_path)))
    assert found == {
        "gpus": [],
        "no_gpu_reason": nvml_reasons.NO_DRIVER,
        "driver_version": None,
        "cuda_version": None,
    }


def test_program_that_looked_has_let_the_driver_go(stub):
    program = PROGRAM + (
        "import pynvml\n"
        "try:\n    pynvml.nvmlDeviceGetCount()\n"
        "except pynvml.NVMLError_Uninitialized:\n    print('gone')\n"
    )
    assert stub.run_python(program).endswith("gone\n")
