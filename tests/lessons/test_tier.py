"""The tier follows what torch can use, and says why there is no GPU."""

from types import SimpleNamespace

import pytest
import torch

from workshop_utils.hardware.machine import InstalledGpu, Machine
from workshop_utils.lessons import tier


def pretend(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    properties = SimpleNamespace(name="NVIDIA H200", total_memory=int(139.8 * 2**30))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _index: properties)


@pytest.mark.parametrize(("count", "name"), [(1, "one_gpu"), (2, "multi_gpu"), (8, "multi_gpu")])
def test_gpus_that_torch_can_use(monkeypatch: pytest.MonkeyPatch, count: int, name: str) -> None:
    pretend(monkeypatch, count)
    found = tier.find_tier()
    assert found.name == name
    assert "NVIDIA H200 with 139.8 GiB" in str(found)


def test_without_a_gpu_the_reason_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    monkeypatch.setattr(tier, "find_machine", lambda: Machine((), "No driver here.", None, None))
    found = tier.find_tier()
    assert found.name == "cpu"
    assert "No driver here." in found._repr_markdown_()


def test_a_gpu_that_this_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    gpu = InstalledGpu(0, "GPU-1", "NVIDIA A40", 48 * 2**30, (8, 6), None)
    monkeypatch.setattr(tier, "find_machine", lambda: Machine((gpu,), None, "580", (13, 0)))
    assert "The driver shows NVIDIA A40, but this PyTorch cannot use it" in tier.find_tier().sentence
