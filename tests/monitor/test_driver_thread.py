"""A driver that hangs, is slow, or comes back: CPU and memory go on, and the end waits for nobody."""

import threading
import time

import pytest

from workshop_utils.hardware.reading import Reading
from workshop_utils.monitor import driver_thread
from workshop_utils.monitor.driver_thread import DriverThread
from workshop_utils.monitor.sampler import Sampler


class Driver:
    """Answers with how often it was asked; hangs while ``free`` is not set."""

    def __init__(self):
        self.free = threading.Event()
        self.free.set()
        self.reads = self.closes = 0

    def read(self):
        self.reads += 1
        self.free.wait()
        return Reading.of(self.reads)

    def close(self):
        self.closes += 1


class Host:
    def read(self):
        return Reading.of("host")

    def close(self):
        pass


@pytest.fixture
def driver():
    made = Driver()
    yield made
    made.free.set()


@pytest.fixture
def thread(driver, monkeypatch):
    monkeypatch.setattr(driver_thread, "PATIENCE_SECONDS", 0.3)
    made = DriverThread(driver.read, driver.close)
    yield made
    driver.free.set()
    made.close()


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_healthy_driver_gives_a_reading_of_now(thread):
    assert [thread.read().data for _ in range(3)] == [1, 2, 3]


def test_slow_driver_gives_its_newest_and_one_that_hangs_a_sentence_until_it_answers(thread, driver, caplog):
    thread.read()
    driver.free.clear()
    start = time.monotonic()
    assert thread.read().data == 1
    assert 0.04 < time.monotonic() - start < 0.25
    time.sleep(0.8)
    start = time.monotonic()
    hung = [thread.read() for _ in range(50)]
    assert time.monotonic() - start < 0.1
    assert {(each.status, each.data) for each in hung} == {("unavailable", None)}
    assert "has not answered for 1 s" in hung[-1].error
    assert len(caplog.records) == 1
    assert driver.reads == 2  # a call that hangs is not asked again
    driver.free.set()
    wait_until(lambda: thread.read().data == driver.reads)


def test_close_does_not_wait_for_a_call_that_hangs_and_happens_after_it(thread, driver):
    driver.free.clear()
    assert thread.read().status == "unavailable"
    start = time.monotonic()
    thread.close()
    assert time.monotonic() - start < 1.0
    assert driver.closes == 0
    driver.free.set()
    wait_until(lambda: driver.closes == 1)
    assert thread.read().data == 2  # and it starts afresh


def test_look_before_a_hung_close_keeps_the_driver(thread, driver):
    driver.free.clear()
    thread.read()
    thread.close()
    thread.read()
    driver.free.set()
    wait_until(lambda: thread.read().status == "ok")
    assert driver.closes == 0


def test_host_goes_on_at_its_rate_while_the_driver_hangs_and_stop_is_quick(driver, monkeypatch):
    monkeypatch.setattr(driver_thread, "PATIENCE_SECONDS", 0.3)
    sampler = Sampler(driver, Host())
    driver.free.clear()
    samples = []
    subscription = sampler.subscribe(10.0, lambda: samples.append(subscription.take()))
    wait_until(lambda: len(samples) >= 10, 3.0)
    assert {each.host.data for each in samples} == {"host"}
    assert {each.gpus.status for each in samples} == {"unavailable"}
    driver.free.set()
    wait_until(lambda: samples[-1].gpus.status == "ok")
    driver.free.clear()
    wait_until(lambda: samples[-1].gpus.status == "unavailable")
    start = time.monotonic()
    sampler.stop()
    assert time.monotonic() - start < 1.5
