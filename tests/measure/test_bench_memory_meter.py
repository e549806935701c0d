"""What a run reads at its stages: a GPU's counters, fabricated, and this process's resident memory, real."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from workshop_utils.hardware.nvml import GpuReading
from workshop_utils.hardware.reading import Reading
from workshop_utils.measure.bench_memory_meter import CudaMeter, ResidentMeter, meter_of, whole_peak

MIB = 2**20


class Driver:
    """NVML of two GPUs, the other way round than torch counts them; ``used`` is the second torch's."""

    def __init__(self) -> None:
        self.used = {"aaaa": 500, "bbbb": 100}

    def read(self) -> Reading:
        return Reading.of(
            tuple(
                GpuReading(index, f"GPU-{uuid}", "H200", memory_used_bytes=used)
                for index, (uuid, used) in enumerate(self.used.items())
            )
        )


class Counters:
    """torch.cuda of two GPUs whose figures a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.peak, self.max_reserved, self.reserved, self.resets = [0, 0], [0, 0], [0, 0], 0
        for name, answer in {
            "synchronize": lambda _i: None, "empty_cache": lambda: None,
            "device": lambda _i: nullcontext(),
            "memory_allocated": lambda i: 10 + i, "max_memory_allocated": lambda i: self.peak[i],
            "max_memory_reserved": lambda i: self.max_reserved[i],
            "memory_reserved": lambda i: self.reserved[i],
            "reset_peak_memory_stats": self.reset,
            "get_device_properties": lambda i: SimpleNamespace(uuid=("bbbb", "aaaa")[i]),
        }.items():  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, answer)

    def reset(self, _index: int) -> None:
        self.resets += 1


def test_the_process_is_what_the_driver_shows_beyond_idle_at_the_peak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver, counters = Driver(), Counters(monkeypatch)
    meter = CudaMeter(2, driver)  # type: ignore[arg-type]
    assert meter.devices == ("cuda:0", "cuda:1")
    assert meter.loaded() == [{"loaded": 10}, {"loaded": 11}]
    counters.peak, counters.max_reserved = [70, 7], [90, 9]
    assert meter.prefilled() == [{"prefill_peak": 70}, {"prefill_peak": 7}]
    assert counters.resets == 4
    # The decoding needs less, and the allocator gave 30 of the first GPU's reserve back.
    counters.peak, counters.max_reserved, counters.reserved = [50, 8], [60, 9], [60, 9]
    driver.used = {"aaaa": 500 + 9 + 3, "bbbb": 100 + 60 + 5}
    assert meter.ended() == [
        {"decode_peak": 50, "peak_reserved": 90, "process": 95, "context": 5},
        {"decode_peak": 8, "peak_reserved": 9, "process": 12, "context": 3},
    ]
    assert [sorted(values) for values in meter.stopped()] == [
        ["context", "peak_allocated", "peak_reserved", "process"]
    ] * 2


def test_a_gpu_that_the_driver_does_not_count_has_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    Counters(monkeypatch)
    gone = SimpleNamespace(read=lambda: Reading.missing("no driver"))
    assert CudaMeter(1, gone).ended() == [{"decode_peak": 0, "peak_reserved": 0}]  # type: ignore[arg-type]


def test_resident_memory_is_read_beyond_what_was_there_before() -> None:
    meter = ResidentMeter()
    kept = torch.ones(64 * MIB, dtype=torch.uint8)
    (loaded,) = meter.loaded()
    passing = torch.ones(96 * MIB, dtype=torch.uint8)
    del passing
    (prefilled,) = meter.prefilled()
    (ended,) = meter.ended()
    assert kept.numel() == 64 * MIB
    assert loaded["loaded"] == pytest.approx(64 * MIB, abs=8 * MIB)
    assert prefilled["prefill_peak"] == pytest.approx(160 * MIB, abs=10 * MIB)
    assert ended["decode_peak"] <= prefilled["prefill_peak"]
    assert ended["process"] > prefilled["prefill_peak"]


def test_the_peak_is_the_highest_of_all_stages() -> None:
    assert whole_peak({"prefill_peak": 3, "decode_peak": 4})["peak_allocated"] == 4
    assert whole_peak({"prefill_peak": 5, "peak_allocated": 4})["peak_allocated"] == 5
    assert whole_peak({"weights": 1}) == {"weights": 1}


def test_the_meter_is_the_devices() -> None:
    assert isinstance(meter_of("cpu", 1), ResidentMeter)
    assert meter_of("cuda", 3).devices == ("cuda:0", "cuda:1", "cuda:2")
