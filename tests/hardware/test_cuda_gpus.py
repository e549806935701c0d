"""What torch may use is named by the driver, and this process gets no CUDA context for it."""

import json

import pytest

# A process of its own, for a library stays loaded. What torch says itself is told apart by its name.
NAMES = """
import json
from types import SimpleNamespace
import torch
from workshop_utils.hardware.cuda_gpus import cuda_gpus
count, initialized = {count}, {initialized}
torch.cuda.is_available = lambda: count > 0
torch.cuda.device_count = lambda: count
torch.cuda.is_initialized = lambda: initialized
torch.cuda.get_device_properties = lambda _index: SimpleNamespace(name="torch's word", total_memory=1)
print(json.dumps(cuda_gpus()))
"""


def names(stub, count, initialized=False, visible=None):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    said = stub.run_python(NAMES.format(count=count, initialized=initialized), **environment)
    return json.loads(said)


@pytest.fixture(autouse=True)
def all_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_driver_names_them(stub):
    (one, memory), other = names(stub, 2)
    assert one == other[0] == "NVIDIA H200 (stub)"
    assert memory > 100 * 2**30


def test_those_that_are_hidden_are_left_out(stub):
    assert len(names(stub, 1, visible="1")) == 1


@pytest.mark.parametrize("faults", [["gpus 2", "mig 0 2"], ["gpus 3"], ["gpus 2", "init 9"]])
def test_torch_is_asked_where_the_driver_says_something_else(stub, faults):
    stub.set_faults(*faults)
    assert names(stub, 2) == [["torch's word", 1]] * 2


def test_torch_is_asked_once_it_holds_a_context(stub):
    assert names(stub, 2, initialized=True) == [["torch's word", 1]] * 2


def test_no_gpu_is_none(stub):
    assert names(stub, 0) == []
