"""The live strip: one at a time, a compact row a sample, a thread that ends, words for what is missing."""

import asyncio
import json
import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor.host import HostReading
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.widgets import live_strip as module
from workshop_utils.widgets import live_strip_feed as feed_module
from workshop_utils.widgets.live_strip import LiveStrip, live_strip
from workshop_utils.widgets.live_strip_feed import SILENCE_SECONDS, Feed, Patience

ROOT = Path(__file__).parents[2]
GIB = 2**30
HOST = HostReading(50.0, 2.0, "machine", 25.0, 4, 3 * GIB, 8 * GIB, "machine", GIB, 16 * GIB)


class Probe:
    def __init__(self, reading):
        self.reading = reading
        self.reads = 0

    def read(self):
        self.reads += 1
        return self.reading

    def close(self):
        pass


def gpu(index, **figures):
    known = {"utilization_percent": 37, "memory_used_bytes": 12 * GIB, "power_watts": 310.5}
    limits = {"memory_total_bytes": 140 * GIB, "power_limit_watts": 700.0}
    return GpuReading(index, f"GPU-{index}", "NVIDIA H200", **(known | limits | figures))


def lost(index):
    return GpuReading(index, f"GPU-{index}", "NVIDIA H200", "lost", f"GPU {index} has fallen off the bus.")


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def gpus(monkeypatch):
    """What the driver says, to be changed by a test; strips made here read it."""
    probe = Probe(Reading.of((gpu(0), gpu(1))))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(
        module,
        "Feed",
        lambda hz, show, patience: Feed(
            hz, show, patience, lambda: Sampler(probe, Probe(Reading.of(HOST)), sleep_after_seconds=0)
        ),
    )
    return probe


@pytest.fixture
def sent(monkeypatch):
    """Messages to the page: content and numbers."""
    messages = []

    def send(self, content, buffers=None):
        (buffer,) = buffers
        messages.append((content, struct.unpack(f"<{len(buffer) // 8}d", buffer)))

    monkeypatch.setattr(LiveStrip, "send", send)
    return messages


@pytest.fixture
def strip(gpus, sent):
    strip = live_strip(hz=10)
    yield strip
    strip.close()
    wait_until(lambda: not strip_threads())


def strip_threads():
    return [each for each in threading.enumerate() if each.name.startswith("workshop-")]


def test_a_row_is_a_time_and_three_numbers_a_device(strip, sent):
    wait_until(lambda: sent)
    content, numbers = sent[0]
    assert content == {"kind": "row", "notes": [], "decode": ""}
    assert abs(numbers[0] - time.time()) < 60
    assert numbers[1:] == (37.0, 12.0 * GIB, 310.5) * 2
    assert strip.devices[1] == {
        "kind": "gpu",
        "label": "GPU 1",
        "name": "NVIDIA H200",
        "memory_bytes": 140 * GIB,
        "power_watts": 700.0,
    }
    assert str(strip) == "Live strip: GPU 0: 37 %, 12.0 GiB, 310 W; GPU 1: 37 %, 12.0 GiB, 310 W"
    json.dumps(strip.devices)


def test_a_page_that_greets_is_told_the_past(strip, sent):
    wait_until(lambda: len(sent) > 12)
    strip._answer(strip, {"kind": "hello"}, [])
    _, numbers = next(each for each in sent if each[0]["kind"] == "history")
    assert len(numbers) % 7 == 0
    # Once a second, however fast the strip is.
    assert 2 <= len(numbers) / 7 <= 4


def test_a_lost_gpu_is_named_and_keeps_its_place(strip, gpus, sent):
    wait_until(lambda: sent)
    devices = strip.devices
    gpus.reading = Reading.of((gpu(0), lost(1)))
    wait_until(lambda: sent[-1][0]["notes"])
    content, numbers = sent[-1]
    assert content["notes"] == ["GPU 1 has fallen off the bus."]
    assert numbers[1] == 37.0
    assert all(number != number for number in numbers[4:])
    assert strip.devices == devices
    assert "GPU 1: not reported; GPU 1 has fallen off the bus." in str(strip)


def test_a_driver_that_hangs_leaves_a_gap_and_a_sentence(strip, gpus, sent):
    wait_until(lambda: sent)
    gpus.reading = Reading.missing("The GPU driver has not answered for 3 s.")
    wait_until(lambda: sent[-1][0]["notes"])
    assert sent[-1][0]["notes"] == ["The GPU driver has not answered for 3 s."]
    assert len(sent[-1][1]) == 7
    assert len(strip.devices) == 2


def test_without_a_gpu_the_job_is_shown_with_the_reason(gpus, sent):
    gpus.reading = Reading.missing("This machine has no NVIDIA driver.")
    strip = live_strip(hz=10)
    wait_until(lambda: sent)
    content, numbers = sent[0]
    assert content["notes"] == ["This machine has no NVIDIA driver."]
    assert numbers[1:3] == (50.0, 3.0 * GIB)
    assert [device["kind"] for device in strip.devices] == ["host"]
    strip.count_tokens(5)
    time.sleep(0.3)
    strip.count_tokens(5)
    wait_until(lambda: sent[-1][0]["decode"])
    assert re.fullmatch(r"Decode: [\d.,]+ tokens/s, no energy counter", sent[-1][0]["decode"])
    strip.close()


def test_hidden_gpus_are_not_shown(gpus, sent, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    strip = live_strip(hz=10)
    wait_until(lambda: sent)
    assert [device["label"] for device in strip.devices] == ["GPU 1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    strip = live_strip(hz=10)
    wait_until(lambda: sent[-1][0]["notes"])
    assert "hides all GPUs" in sent[-1][0]["notes"][0]
    strip.close()


def test_a_second_strip_takes_the_place_of_the_first(strip, sent):
    second = live_strip(hz=10)
    assert strip.comm is None
    assert not strip._feed.is_running
    wait_until(lambda: sent)
    assert [second] == module._SHOWN
    second.close()


def test_close_ends_the_threads_and_nothing_starts_them_again(gpus, sent):
    strip = live_strip(hz=10)
    wait_until(lambda: sent)
    strip.close()
    wait_until(lambda: not strip_threads())
    strip._answer(strip, {"kind": "hello"}, [])
    assert not strip._feed.is_running
    strip.close()


@pytest.mark.parametrize("hz", [0, 0.1, 11, float("nan")])
def test_a_rate_out_of_range_is_refused(hz):
    with pytest.raises(WorkshopError, match=r"out of range; give 0\.2 to 10"):
        live_strip(hz)


def test_it_pauses_when_nobody_answers_and_goes_on_with_the_next_answer(gpus, sent):
    clock = [100.0]
    patience = Patience(None, lambda: clock[0])
    shown = []
    feed = Feed(
        10, shown.append, patience, lambda: Sampler(gpus, Probe(Reading.of(HOST)), sleep_after_seconds=0)
    )
    feed.start()
    wait_until(lambda: shown)
    clock[0] += SILENCE_SECONDS - 1
    count = len(shown)
    wait_until(lambda: len(shown) > count + 2)  # not yet
    clock[0] += SILENCE_SECONDS
    wait_until(lambda: not feed.is_running and not strip_threads())
    feed.start()
    count = len(shown)
    wait_until(lambda: len(shown) > count)
    feed.stop()


def test_silence_does_not_count_while_the_kernel_is_busy():
    clock = [0.0]

    async def kernel():
        patience = Patience(asyncio.get_running_loop(), lambda: clock[0])
        for _ in range(10):  # a cell computes: the loop does not turn, and no answer is heard
            clock[0] += SILENCE_SECONDS
            assert not patience.is_over()
        for _ in range(3):
            await asyncio.sleep(0)
            clock[0] += SILENCE_SECONDS / 2
            over = patience.is_over()
        assert over
        patience.heard()
        assert not patience.is_over()

    asyncio.run(kernel())


def test_a_fault_of_ours_ends_the_strip_and_not_the_cell(gpus, caplog):
    def show(_sample):
        raise ValueError("no such thing")

    feed = Feed(10, show, Patience(None), lambda: Sampler(gpus, Probe(Reading.of(HOST))))
    feed.start()
    wait_until(lambda: not feed.is_running)
    wait_until(lambda: not strip_threads())
    assert "please report this" in caplog.text


def test_the_host_is_read_only_where_there_is_no_gpu(monkeypatch):
    class Gpus(feed_module.WatchedGpus):
        seen = True

    assert feed_module.HostWithoutGpu(Gpus()).read().status == "unavailable"
    gpus = Gpus()
    gpus.seen = False
    assert feed_module.HostWithoutGpu(gpus).read().status == "ok"


def test_a_process_with_a_strip_ends_and_shows_text():
    code = "from workshop_utils.widgets.live_strip import live_strip\nstrip = live_strip()\nprint(strip)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "Live strip: run this cell in JupyterLab to see your GPUs.\n"
    assert done.stderr == ""


def test_the_page_needs_nothing_from_elsewhere(strip):
    bundle = strip._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle)
    assert not re.search(r"\bimport\b\s*[({\"'*]|\bfrom\s+['\"]|fetch\(|XMLHttpRequest", strip._esm)
    assert set(re.findall(r"https?://[^\s)'\"]+", strip._esm + strip._css)) <= {
        "https://github.com/leeoniya/uPlot"
    }


def test_uplot_is_the_panels_with_its_licence():
    folder = ROOT / "src" / "workshop_utils" / "widgets" / "uplot"
    version = re.match(
        r"/\*! \S+ \(v([\d.]+)\) \*/", (folder / "uPlot.iife.min.js").read_text(encoding="utf-8")
    )
    lock = (ROOT / "jupyter_extension" / "yarn.lock").read_text(encoding="utf-8")
    assert version and f'"uplot@npm:{version[1]}"' in lock
    assert "MIT License" in (folder / "LICENSE").read_text(encoding="utf-8")
    installed = ROOT / "jupyter_extension" / "node_modules" / "uplot" / "dist"
    if not installed.exists():
        pytest.skip("the panel's npm packages are not installed; run make test-panel")
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        assert (folder / name).read_bytes() == (installed / name).read_bytes()


def test_a_sample_of_another_time_is_one_row_in_a_page():
    sample = Sample(1.5, 2.5, Reading.of((gpu(0),)), Reading.of(HOST))
    assert module.row_of(sample.time, [None, 2.0]) == struct.pack("<3d", 1.5, float("nan"), 2.0)
