"""Memory of this process: real on this machine, fabricated where a machine is needed."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.nvml import GpuReading
from workshop_utils.hardware.reading import Reading
from workshop_utils.measure.process_memory import CpuMemory, GpuMemory, MemoryReading
from workshop_utils.measure.watch import watch_memory

MIB = 2**20
SIZE = 64 * MIB
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")


def fill(size: int) -> bytearray:
    return bytearray(os.urandom(MIB)) * (size // MIB)


@on_linux
def test_a_watch_sees_what_stays_and_what_was_only_needed_at_the_peak() -> None:
    with watch_memory(CpuMemory()) as watch:
        kept = fill(SIZE)
        passing = fill(SIZE)
        del passing
    assert len(kept) == SIZE
    assert watch.added_bytes == pytest.approx(SIZE, abs=4 * MIB)
    assert watch.working_bytes is None or watch.working_bytes == pytest.approx(SIZE, abs=6 * MIB)


@on_linux
def test_the_reading_is_near_what_psutil_says() -> None:
    rss = psutil.Process().memory_info().rss
    assert CpuMemory().read().held_bytes == pytest.approx(rss, rel=0.05)


def test_a_system_without_proc_has_no_peak_and_falls_back_to_psutil(tmp_path: Path) -> None:
    meter = CpuMemory(tmp_path / "none")
    with watch_memory(meter) as watch:
        pass
    assert watch.end.held_bytes > MIB
    assert (watch.end.peak_bytes, watch.working_bytes, watch.own_peak) == (None, None, False)


def test_a_peak_that_cannot_be_reset_is_not_taken_for_the_blocks_own(tmp_path: Path) -> None:
    (tmp_path / "smaps_rollup").write_text("Rss:      2000 kB\n", encoding="utf-8")
    (tmp_path / "status").write_text("VmHWM:	   9000 kB\n", encoding="utf-8")
    (tmp_path / "clear_refs").mkdir()  # cannot be written, not even by root
    with watch_memory(CpuMemory(tmp_path)) as watch:
        pass
    assert watch.end == MemoryReading(2000 * 1024, 9000 * 1024)
    assert watch.working_bytes is None


def test_a_block_that_stopped_early_has_no_result() -> None:
    with pytest.raises(ZeroDivisionError), watch_memory(CpuMemory()) as watch:
        raise ZeroDivisionError
    with pytest.raises(WorkshopError, match="run that cell again"):
        _ = watch.added_bytes


def test_a_gpu_is_found_by_its_uuid_not_by_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (
        GpuReading(0, "GPU-aaaa", "H200", memory_used_bytes=1),
        GpuReading(1, "GPU-bbbb", "H200", memory_used_bytes=77),
    )
    for name, value in {
        "synchronize": None, "memory_allocated": 10, "max_memory_allocated": 30, "memory_reserved": 40,
        "get_device_properties": SimpleNamespace(uuid="bbbb"),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda _index, value=value: value)
    nvml = SimpleNamespace(read=lambda: Reading.of(gpus))
    assert GpuMemory(0, nvml).read() == MemoryReading(10, 30, 40, 77)  # type: ignore[arg-type]
    gone = SimpleNamespace(read=lambda: Reading.missing("no driver"))
    assert GpuMemory(0, gone).read().driver_bytes is None  # type: ignore[arg-type]
