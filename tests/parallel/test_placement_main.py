"""Which device runs what lies on the host and the disk: the one that Accelerate chooses."""

import inspect

import pytest
from accelerate import big_modeling

from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.devices import DISK, HOST, Key, imagined_devices
from workshop_utils.parallel.big_model.maps import MAP_KINDS, accelerate_map
from workshop_utils.parallel.big_model.peaks import device_peaks
from workshop_utils.parallel.big_model.speed import expected_tpot
from workshop_utils.units import GIB

ACCELERATES = 'list(non_offloaded_devices)[0] if non_offloaded_devices else "cpu"'


def main_of_accelerate(modules: dict[str, Key]) -> Key:
    """Return what ``dispatch_model`` takes; a test holds that it still reads so."""
    if set(modules.values()) <= {HOST, DISK}:
        return HOST
    return next(iter(set(modules.values()) - {HOST, DISK}))


def test_accelerate_still_chooses_the_first_gpu_of_the_map() -> None:
    assert ACCELERATES in inspect.getsource(big_modeling.dispatch_model)


@pytest.mark.parametrize("kind", MAP_KINDS)
@pytest.mark.parametrize("text", ["4 x A40", "1 x L4", "2 x H100-80GB", "none"])
def test_the_main_device_is_accelerates(kind: str, text: str) -> None:
    placement = accelerate_map("llama-3.1-70b", imagined_devices(text), kind=kind)
    assert placement.main == main_of_accelerate(dict(placement.modules))


def test_a_first_gpu_that_holds_nothing_runs_nothing() -> None:
    devices = imagined_devices("4 x A40")
    placement = accelerate_map("llama-3.1-70b", devices, kind="balanced_low_0")
    assert (placement.main, placement.hops) == (1, 3)
    peaks = device_peaks(find_architecture("llama-3.1-70b"), placement, devices, tokens=4096)
    assert peaks[0].peak_bytes == 0 < peaks[1].peak_bytes


def test_with_all_gpus_closed_the_cpu_computes() -> None:
    devices = imagined_devices("2 x A40")
    placement = accelerate_map("smollm2-135m", devices, max_memory={0: 0, 1: 0, HOST: GIB})
    assert (placement.main, placement.hops, placement.offloaded_bytes) == (HOST, 0, 0)
    assert {part.name for part in expected_tpot("smollm2-135m", placement, devices, tokens=64).parts} == {
        "reading weights and cache on the CPU"
    }
