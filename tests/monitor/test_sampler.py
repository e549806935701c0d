"""One thread, many readers: rates, slow readers, sleep, faults and the end."""

import json
import threading
import time
from dataclasses import fields

import pytest

from workshop_utils.hardware.my_gpus import SLURM_GPUS, VISIBLE
from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor import sampler as sampler_module
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.subscription import Subscription


class CountingProbe:
    """Answers with how often it was read; may block, fail, and counts how often it was let go."""

    def __init__(self, data=(), block_seconds=0.0, error=None):
        self.reads = self.closes = 0
        self.threads = set()
        self.data, self.block_seconds, self.error = data, block_seconds, error

    def read(self):
        self.reads += 1
        self.threads.add(threading.get_ident())
        time.sleep(self.block_seconds)
        if self.error is not None:
            raise self.error
        return Reading.of(self.data)

    def close(self):
        self.closes += 1


@pytest.fixture
def probes():
    return CountingProbe(), CountingProbe()


@pytest.fixture
def make_sampler(probes):
    made = []

    def make(gpus=probes[0], host=probes[1], **options):
        made.append(Sampler(gpus, host, **options))
        return made[-1]

    yield make
    for sampler in made:
        sampler.stop()


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def sample_at(ticks):
    return Sample(1000.0 + ticks, ticks, Reading.of(()), Reading.missing("none"))


def test_nothing_is_read_before_somebody_looks(make_sampler, probes):
    before = threading.active_count()
    make_sampler()
    time.sleep(0.05)
    assert probes[0].reads == 0
    assert threading.active_count() == before


def test_first_look_waits_for_a_sample_and_all_share_one_thread_a_provider(make_sampler, probes):
    sampler = make_sampler()
    assert sampler.latest(0) is None
    sample = sampler.latest()
    assert sample.gpus.status == "ok"
    assert sampler.latest(0) is not None
    assert len(probes[0].threads) == len(probes[1].threads) == 1
    assert len(probes[0].threads | probes[1].threads | {threading.get_ident()}) == 3


def test_thread_runs_at_the_fastest_rate_asked_for(make_sampler, probes):
    sampler = make_sampler()
    slow, fast = sampler.subscribe(1.0, lambda: None), sampler.subscribe(10.0, lambda: None)
    wait_until(lambda: probes[0].reads >= 2)
    start, reads = time.monotonic(), probes[0].reads
    wait_until(lambda: probes[0].reads >= reads + 10)
    seconds = time.monotonic() - start
    assert 0.8 < seconds < 3.0  # one on an idle machine
    assert len(sampler.history()) <= seconds + 2  # kept at 1 Hz all the same
    fast.close()
    time.sleep(0.15)
    reads = probes[0].reads
    time.sleep(0.5)
    assert probes[0].reads - reads <= 1
    slow.close()


def test_who_asks_for_more_between_two_ticks_gets_no_two_samples_at_once(make_sampler):
    sampler = make_sampler()
    sampler.latest()
    time.sleep(0.4)
    ticks = []
    sampler.subscribe(10.0, lambda: ticks.append(sampler.latest(0).ticks))
    wait_until(lambda: len(ticks) >= 2)
    assert ticks[1] - ticks[0] > 0.01


@pytest.mark.parametrize(
    ("hz", "tick_hz"), [(0.2, 1), (1, 1), (1, 10), (2.5, 10), (3, 10), (7, 10), (10, 10)]
)
def test_each_subscriber_gets_its_own_rate(hz, tick_hz):
    subscription = Subscription(hz, lambda: None, lambda _: None)
    jitter = [0.0, 0.02, -0.02]
    offers = [
        subscription.offer(sample_at(tick / tick_hz + jitter[tick % 3] / tick_hz), 1 / tick_hz)
        for tick in range(60 * tick_hz)
    ]
    assert sum(offers) == pytest.approx(60 * hz, rel=0.02, abs=1)


def test_late_ticks_bring_no_burst():
    subscription = Subscription(1.0, lambda: None, lambda _: None)
    assert subscription.offer(sample_at(0.0), 0.1)
    assert subscription.offer(sample_at(30.0), 0.1)
    assert not subscription.offer(sample_at(30.1), 0.1)


def test_slow_reader_finds_the_newest_sample_only():
    subscription = Subscription(10.0, lambda: None, lambda _: None)
    for tick in range(50):
        subscription.offer(sample_at(tick / 10), 0.1)
    assert subscription.take().ticks == 4.9
    assert subscription.take() is None


def test_subscribers_with_one_wake_are_woken_once_a_tick(make_sampler, probes):
    ticks = []
    sampler = make_sampler()

    def wake():
        ticks.append(probes[0].reads)

    for _ in range(20):
        sampler.subscribe(10.0, wake)
    wait_until(lambda: probes[0].reads >= 6)
    assert len(ticks) == len(set(ticks))


def test_history_is_cut_to_what_was_asked_and_to_ten_minutes(make_sampler, monkeypatch):
    sampler = make_sampler()
    monkeypatch.setattr(sampler, "_look", lambda: None)
    now = time.monotonic()
    for age in range(700, -1, -1):
        sampler._publish(sample_at(now - age), 1.0)
    assert len(sampler.history(10.5)) == 11
    assert sampler.history(0.5)[-1].ticks == now
    assert 600 <= len(sampler.history()) <= 601
    assert len(sampler._history) <= 601


def test_history_keeps_its_distances_when_the_clock_is_set_back_and_a_jump_ahead_stays_a_gap(
    make_sampler, monkeypatch
):
    sampler = make_sampler()
    monkeypatch.setattr(sampler, "_look", lambda: None)
    now = time.monotonic()
    set_back = [(-4, 5000.0), (-3, 5001.0), (-2, 4000.0), (-1, 4001.0), (0, 9000.0)]
    for ticks, wall in set_back:
        sampler._publish(Sample(wall, now + ticks, Reading.of(()), Reading.missing("none")), 1.0)
    times = [sample.time for sample in sampler.history()]
    assert times == pytest.approx([3998, 3999, 4000, 4001, 9000], abs=1e-6)
    frames = [json.loads(sample.frame)["time"] for sample in sampler.history()]
    assert frames == pytest.approx(times)


def test_sleeps_when_nobody_looks_and_lets_the_driver_go(make_sampler, probes):
    sampler = make_sampler(sleep_after_seconds=0.3)
    sampler.latest()
    wait_until(lambda: probes[0].closes == probes[1].closes == 1)
    reads = probes[0].reads
    time.sleep(1.2)
    assert probes[0].reads == reads


def test_subscriber_keeps_it_awake(make_sampler, probes):
    sampler = make_sampler(sleep_after_seconds=0.05)
    subscription = sampler.subscribe(10.0, lambda: None)
    wait_until(lambda: probes[0].reads >= 8)
    assert probes[0].closes == 0
    subscription.close()
    wait_until(lambda: probes[0].closes == 1)


def test_time_to_sleep_runs_from_the_last_subscriber_who_left(make_sampler, probes):
    sampler = make_sampler(sleep_after_seconds=1.5)
    subscription = sampler.subscribe(10.0, lambda: None)
    time.sleep(1.6)
    subscription.close()
    time.sleep(1.2)  # past the next tick at 1 Hz
    assert probes[0].closes == 0
    wait_until(lambda: probes[0].closes == 1)


def test_wakes_at_once_with_a_fresh_sample(make_sampler, probes, monkeypatch):
    # Long enough for a busy machine to hand a new sample over before it is old.
    monkeypatch.setattr(sampler_module, "FRESH_SECONDS", 0.8)
    sampler = make_sampler(sleep_after_seconds=0.3)
    old = sampler.latest()
    wait_until(lambda: probes[0].closes == 1)
    time.sleep(0.85)
    start = time.monotonic()
    new = sampler.latest()
    assert new.ticks >= start > old.ticks
    assert time.monotonic() - start < 1.0


def test_call_that_blocks_holds_up_no_reader(make_sampler):
    sampler = make_sampler(gpus=CountingProbe(block_seconds=1.0))
    sampler.subscribe(10.0, lambda: None)
    start = time.monotonic()
    for _ in range(100):
        sampler.latest(0)
        sampler.history()
        sampler.subscribe(5.0, lambda: None).close()
    assert time.monotonic() - start < 0.3


def test_one_failing_provider_hides_no_other_and_is_logged_once(make_sampler, caplog):
    sampler = make_sampler(gpus=CountingProbe(error=RuntimeError("odd")))
    sampler.subscribe(10.0, lambda: None)
    wait_until(lambda: sampler._gpus.reads >= 5)
    sample = sampler.latest()
    assert sample.gpus.status == "unavailable"
    assert "RuntimeError: odd" in sample.gpus.error
    assert sample.host.status == "ok"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("hz", [0.1, 11, float("nan")])
def test_rate_outside_the_range_is_refused(make_sampler, hz):
    with pytest.raises(ValueError, match=r"outside 0.2 to 10"):
        make_sampler().subscribe(hz, lambda: None)


def test_stop_ends_the_thread_and_is_final(make_sampler, probes):
    sampler = make_sampler()
    sampler.latest()
    sampler.stop()
    sampler.stop()
    assert not {"workshop-sampler", "workshop-driver"} & {thread.name for thread in threading.enumerate()}
    assert probes[0].closes == 1
    reads = probes[0].reads
    sampler.history()
    sampler.subscribe(10.0, lambda: None)
    time.sleep(0.2)
    assert probes[0].reads == reads
    assert not {"workshop-sampler", "workshop-driver"} & {thread.name for thread in threading.enumerate()}


def test_frame_is_the_one_of_the_stream(monkeypatch):
    for name in (VISIBLE, *SLURM_GPUS):
        monkeypatch.delenv(name, raising=False)
    gpu = GpuReading(
        0, "GPU-1", "NVIDIA H200", utilization_percent=None, not_reported={"utilization_percent": "x"}
    )
    frame = json.loads(Sample(12.34567, 1.0, Reading.of((gpu,)), Reading.missing("no psutil")).frame)
    assert frame == {
        "version": 1,
        "kind": "sample",
        "time": 12.346,
        "my_gpus": None,
        "gpus": {
            "status": "ok",
            "error": None,
            "data": [
                {
                    **dict.fromkeys(field.name for field in fields(GpuReading)),
                    "index": 0,
                    "uuid": "GPU-1",
                    "name": "NVIDIA H200",
                    "status": "ok",
                    "not_reported": {"utilization_percent": "x"},
                }
            ],
        },
        "host": {"status": "unavailable", "error": "no psutil", "data": None},
    }
