"""Warnings in the stream, and who keeps the sampler awake for them."""

import asyncio
import json
import time

import pytest
from workshop_monitor.broadcast import Broadcast

from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.warning_settings import WarningSettings, read_settings

SLEEP_AFTER = 0.5


class Gpus:
    """One GPU, idle until told otherwise."""

    busy = 0
    asleep = False

    def read(self):
        self.asleep = False
        gpu = GpuReading(0, "GPU-1", "H100", utilization_percent=self.busy, processes=[])
        return Reading.of((gpu,))

    def close(self):
        """The sampler lets the driver go when it falls asleep."""
        self.asleep = True


class NoHost:
    def read(self):
        return Reading.missing("not here")

    def close(self):
        pass


class Client:
    def __init__(self):
        self.frames = []

    def is_ready(self):
        return True

    def send(self, frame):
        self.frames.append(json.loads(frame))

    def warnings(self):
        return [frame["warnings"] for frame in self.frames if frame["kind"] == "warnings"]


async def nobody():
    return {}


@pytest.fixture
def gpus():
    return Gpus()


@pytest.fixture
def broadcast(gpus):
    found = Broadcast(Sampler(gpus, NoHost(), sleep_after_seconds=SLEEP_AFTER), nobody)
    yield found
    found.sampler.stop()


async def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


async def test_warnings_come_when_they_change_and_before_the_sample(broadcast, gpus):
    client = Client()
    broadcast.join(client, 10, WarningSettings(idle_minutes=0.01))
    await until(client.warnings)
    ((warning,),) = client.warnings()
    assert (warning["kind"], warning["gpu"]) == ("idle_gpu", 0)
    assert warning["text"].startswith("GPU 0 idle for")
    assert abs(warning["since"] - time.time()) < 10
    kinds = [frame["kind"] for frame in client.frames]
    assert kinds[kinds.index("warnings") + 1] == "sample"
    second = Client()
    broadcast.join(second, 10)  # says nothing of warnings, and changes nothing
    await until(lambda: len(second.frames) > 3)
    assert second.frames[0]["warnings"] == [warning]
    gpus.busy = 90
    await until(lambda: client.warnings()[-1] == [])


async def test_nobody_who_looks_and_no_watch_that_is_armed_lets_the_sampler_sleep(broadcast, gpus):
    client = Client()
    broadcast.join(client, 10, WarningSettings())
    await until(lambda: client.frames)
    broadcast.leave(client)
    assert broadcast.sampler._subscriptions == []
    await until(lambda: gpus.asleep)


async def test_a_watch_without_an_idle_warning_is_not_armed(broadcast, gpus):
    client = Client()
    settings, _ = read_settings({"idle_minutes": "0", "watch_alone": "1"})
    broadcast.join(client, 10, settings)
    await until(lambda: client.frames)
    broadcast.leave(client)
    assert broadcast.sampler._subscriptions == []
    await until(lambda: gpus.asleep)


async def test_an_armed_watch_goes_on_alone_and_the_warning_waits_for_the_reader(broadcast, gpus):
    client = Client()
    broadcast.join(client, 10, WarningSettings(idle_minutes=0.05, watch_alone=True))
    await until(lambda: client.frames)
    broadcast.leave(client)
    await asyncio.sleep(4 + SLEEP_AFTER)
    assert not gpus.asleep
    assert not client.warnings()
    back = Client()
    broadcast.join(back, 10, WarningSettings(idle_minutes=0.05))
    await until(lambda: back.frames)
    assert back.frames[0]["kind"] == "warnings"
    broadcast.leave(back)  # and is armed no more
    await until(lambda: gpus.asleep)


async def test_what_was_missed_is_judged_from_the_history(broadcast):
    client = Client()
    broadcast.join(client, 10, WarningSettings(idle_minutes=0.05))
    broadcast.leave(client)
    other = broadcast.sampler.subscribe(1, lambda: None)  # somebody else's: a recording
    await asyncio.sleep(4.2)
    back = Client()
    broadcast.join(back, 10)
    await until(lambda: back.frames)
    assert back.frames[0]["kind"] == "warnings"
    other.close()
