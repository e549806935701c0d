"""Warnings: raised by what lasts, kept near the limit, cleared with a margin; one sentence each."""

import dataclasses

import pytest

from workshop_utils.hardware.reading import GpuProcess, GpuReading, MigReading, Reading
from workshop_utils.monitor.host import HostReading
from workshop_utils.monitor.latch import FORGET_SECONDS, Latch, Rule
from workshop_utils.monitor.owners import Owner
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.warning_settings import WarningSettings
from workshop_utils.monitor.warnings import NEW_TEXT_SECONDS, Watch

GIB = 2**30
RULE = Rule(raise_at=95, clear_at=90, raise_after_seconds=3, clear_after_seconds=5)
GPU = GpuReading(
    0, "GPU-1", "H100", utilization_percent=50, memory_used_bytes=8 * GIB, memory_total_bytes=80 * GIB,
    throttle_reasons=[], processes=[],
)  # fmt: skip
HOST = HostReading(5.0, 2.0, "cgroup v2", 5.0, 64, 2 * GIB, 16 * GIB, "cgroup v2", 9 * GIB, 500 * GIB)
EPOCH = 1_790_000_000.0


def sample(ticks, host=HOST, **figures):
    gpus = () if figures.get("status") == "gone" else (dataclasses.replace(GPU, **figures),)
    return Sample(EPOCH + ticks, ticks, Reading.of(gpus), Reading.of(host))


class Watching:
    """A watch that is given a sample a second."""

    def __init__(self, settings=None, owners=None):
        self.watch = Watch(settings)
        self.owners = owners or {}
        self.ticks = 0

    def take(self, seconds, **figures):
        for _ in range(seconds):
            self.watch.take(sample(self.ticks, **figures), self.owners)
            self.ticks += 1
        return [each.kind for each in self.watch.warnings]

    @property
    def text(self):
        (warning,) = self.watch.warnings
        assert len(warning.text) <= 140  # a notification of Lab has no more
        return warning.text


def history(values, rule=RULE):
    latch, raised = Latch(), []
    for ticks, value in enumerate(values):
        latch.update(ticks, value, rule)
        raised.append(latch.raised)
    return raised


@pytest.mark.parametrize(
    ("values", "raised_at"),
    [
        ([96] * 5, [3, 4]),
        ([96, 96, 94, 96, 96, 96, 96], [6]),  # a dip starts it anew
        ([96, None, None, 96, 96], [3, 4]),  # not knowing is no dip
        ([96] * 4 + [91] * 8, [3, 4, 5, 6, 7, 8, 9, 10, 11]),  # between the limits it stays
        ([96] * 4 + [90] * 7, [3, 4, 5, 6, 7, 8]),
        ([96] * 4 + [90] * 4 + [92] + [90] * 6, [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
    ],
)
def test_latch_has_two_limits_and_two_times(values, raised_at):
    assert [at for at, raised in enumerate(history(values)) if raised] == raised_at


def test_a_long_time_without_a_value_is_forgotten():
    latch = Latch()
    for ticks in range(4):
        latch.update(ticks, 96, RULE)
    assert latch.raised
    latch.update(3 + FORGET_SECONDS, None, RULE)
    assert latch.raised
    latch.update(4 + FORGET_SECONDS, None, RULE)
    assert not latch.raised
    latch.update(5 + FORGET_SECONDS, 96, RULE)
    assert not latch.raised


def test_gpu_memory_names_the_notebook_that_holds_most():
    owners = {
        1: Owner(1, "python3", "02.ipynb"),
        2: Owner(2, "python3", "02.ipynb"),
        3: Owner(3, "vllm", None),
    }
    processes = [GpuProcess(1, 16 * GIB), GpuProcess(2, 15 * GIB), GpuProcess(3, 30 * GIB)]
    watching = Watching(owners=owners)
    assert watching.take(3, memory_used_bytes=78 * GIB, processes=processes) == []
    assert watching.take(1, memory_used_bytes=78 * GIB, processes=processes) == ["gpu_memory"]
    assert watching.text == (
        "GPU 0 nearly out of memory: 78.0 of 80.0 GiB (98 %, limit 95 %); "
        "shut down the kernel of 02.ipynb: 31.0 GiB."
    )
    assert watching.take(30, memory_used_bytes=74 * GIB) == ["gpu_memory"]  # 92.5 %: between
    assert watching.take(5, memory_used_bytes=72 * GIB) == ["gpu_memory"]  # 90 %
    assert watching.take(1, memory_used_bytes=72 * GIB) == []


@pytest.mark.parametrize(
    ("processes", "owners", "words"),
    [
        ([GpuProcess(3, GIB)], {3: Owner(3, "vllm", None)}, "; end vllm (process 3): 1.0 GiB."),
        (
            [GpuProcess(3, GIB)],
            {},
            "; see process 3 in nvidia-smi: 1.0 GiB.",
        ),
        ([GpuProcess(3, None)], {}, "nvidia-smi may tell who holds it"),
        (None, {}, "nvidia-smi may tell who holds it"),
    ],
)
def test_gpu_memory_says_what_is_known_of_who_holds_it(processes, owners, words):
    watching = Watching(owners=owners)
    watching.take(5, memory_used_bytes=80 * GIB, processes=processes)
    assert words in watching.text


def test_a_divided_gpu_is_warned_of_by_its_fullest_instance():
    empty = MigReading("MIG-1", "1g.18gb", GIB, 18 * GIB, None, [])
    full = MigReading("MIG-2", "2g.35gb", int(34.5 * GIB), 35 * GIB, None, [GpuProcess(7, 30 * GIB)])
    watching = Watching(owners={7: Owner(7, "python3", "07_accelerate.ipynb")})
    assert watching.take(10, mig=[empty]) == []
    assert "gpu_memory" in watching.take(10, mig=[empty, full])
    assert watching.text.startswith(
        "GPU 0, MIG 2g.35gb, nearly out of memory: 34.5 of 35.0 GiB (99 %, limit 95 %)"
    )
    assert "07_accelerate.ipynb" in watching.text


def test_text_follows_the_figures_but_not_each_second():
    watching = Watching()
    watching.take(4, memory_used_bytes=77 * GIB)
    assert "77.0 of 80.0" in watching.text
    watching.take(int(NEW_TEXT_SECONDS) - 1, memory_used_bytes=79 * GIB)
    assert "77.0 of 80.0" in watching.text
    watching.take(1, memory_used_bytes=79 * GIB)
    assert "79.0 of 80.0" in watching.text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("cgroup v2", "Job memory nearly full: 15.0 of 16.0 GiB (94 %, limit 90 %);"),
        ("machine", "Machine memory nearly full"),
    ],
)
def test_job_memory(source, words):
    full = dataclasses.replace(HOST, memory_used_bytes=15 * GIB, memory_limit_source=source)
    watching = Watching()
    assert watching.take(3, host=full) == []
    assert watching.take(2, host=full) == ["job_memory"]
    assert words in watching.text
    assert ("--mem" in watching.text) == (source != "machine")
    assert watching.take(6) == []


def test_idle_gpu_after_minutes_with_what_holds_its_memory():
    watching = Watching(WarningSettings(idle_minutes=2), {1: Owner(1, "python3", "03.ipynb")})
    holding = [GpuProcess(1, 3 * GIB)]
    assert watching.take(119, utilization_percent=0, processes=holding) == []
    assert watching.take(3, utilization_percent=2, processes=holding) == ["idle_gpu"]
    assert watching.text == (
        "GPU 0 idle for 2 min (2 % busy, limit 2 min), and many clusters end such jobs; "
        "shut down the kernel of 03.ipynb: 3.0 GiB."
    )
    assert watching.watch.warnings[0].since == EPOCH
    assert watching.take(60, utilization_percent=4) == ["idle_gpu"]
    assert "idle for 3 min" in watching.text
    assert watching.take(3, utilization_percent=90) == []
    assert watching.take(119, utilization_percent=0) == []  # and starts anew


def test_a_gpu_that_does_not_report_is_not_idle():
    watching = Watching(WarningSettings(idle_minutes=0.05))
    assert watching.take(100, utilization_percent=None, not_reported={"utilization_percent": "No"}) == []


@pytest.mark.parametrize(
    ("reasons", "seconds", "words"),
    [
        (["temperature, by hardware"], 10, "tell the staff if it goes on"),
        (["power limit", "power brake"], 10, "slowed by power limit and power brake"),
        (["power limit"], 30, "normal at full load"),
    ],
)
def test_throttling(reasons, seconds, words):
    watching = Watching()
    figures = {
        "sm_clock_mhz": 1200,
        "temperature_celsius": 88,
        "power_watts": 690.4,
        "power_limit_watts": 700.0,
    }
    assert watching.take(seconds, throttle_reasons=reasons, **figures) == []
    assert watching.take(1, throttle_reasons=reasons, **figures) == ["throttling"]
    assert words in watching.text
    assert "(1200 MHz, 88 °C, 690 of 700 W)" in watching.text
    assert watching.take(10) == ["throttling"]
    assert watching.take(1) == []


def test_what_is_off_is_silent_at_once_and_what_it_counted_is_kept():
    watching = Watching(WarningSettings(idle_minutes=1))
    assert watching.take(70, utilization_percent=0) == ["idle_gpu"]
    watching.watch.use(WarningSettings(idle_minutes=None))
    assert watching.take(1, utilization_percent=0) == []
    watching.watch.use(WarningSettings(idle_minutes=1))
    assert watching.take(1, utilization_percent=0) == ["idle_gpu"]
    off = WarningSettings(None, None, None, throttling=False)
    full = dataclasses.replace(HOST, memory_used_bytes=16 * GIB)
    silent = Watching(off)
    assert silent.take(
        200, host=full, utilization_percent=0, memory_used_bytes=80 * GIB, throttle_reasons=["power brake"]
    ) == []  # fmt: skip


def test_a_new_unit_is_used_at_once():
    watching = Watching()
    watching.take(5, memory_used_bytes=80 * GIB)
    watching.watch.use(WarningSettings(unit="GB"))
    watching.take(1, memory_used_bytes=80 * GIB)
    assert "85.9 of 85.9 GB" in watching.text


def test_a_lost_gpu_is_forgotten_and_old_samples_are_ignored():
    watching = Watching()
    assert watching.take(5, memory_used_bytes=80 * GIB) == ["gpu_memory"]
    watching.watch.take(sample(1.5), {})  # older than the newest
    assert watching.take(1, status="lost") == ["gpu_memory"]
    assert watching.take(int(FORGET_SECONDS) + 1, status="gone") == []


def test_the_warning_of_every_gpu_is_its_own():
    watch = Watch()
    gpus = tuple(dataclasses.replace(GPU, index=index, memory_used_bytes=80 * GIB) for index in range(8))
    for ticks in range(5):
        watch.take(Sample(EPOCH + ticks, ticks, Reading.of(gpus), Reading.missing("no host")), {})
    assert [each.gpu for each in watch.warnings] == list(range(8))


def test_another_jobs_gpu_is_nobodys_to_warn_of(monkeypatch):
    watching = Watching(WarningSettings())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(GPU.index + 1))
    full = {"memory_used_bytes": GPU.memory_total_bytes}
    assert watching.take(60, **full) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(GPU.index))
    assert watching.take(60, **full) == ["gpu_memory"]
