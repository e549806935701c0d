"""What lies beside the figures is read once a second, in a thread, and a fault costs its own frame only."""

import asyncio
import threading
import time

import pytest
from workshop_monitor import beside
from workshop_monitor.beside import Beside


class Reader:
    subject, nothing = "the test's file", "nothing"

    def __init__(self, is_of_now=True):
        self.is_of_now = is_of_now
        self.frame = "first"
        self.threads = []
        self.seconds = 0.0

    def read(self):
        self.threads.append(threading.get_ident())
        time.sleep(self.seconds)
        if self.frame is None:
            raise ZeroDivisionError
        return self.frame


async def looked(following):
    following.look()
    await following._task
    return following.frames


async def test_files_are_looked_at_once_a_second():
    reader = Reader()
    following = Beside(reader)
    assert following.frames == ("nothing",)
    assert await looked(following) == ("first",)
    reader.frame = "second"
    assert await looked(following) == ("first",)
    assert len(reader.threads) == 1


async def test_a_slow_home_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(beside, "LOOK_SECONDS", 0.0)
    reader = Reader()
    reader.seconds = 0.3
    following = Beside(reader)
    began = time.monotonic()
    following.look()
    await asyncio.sleep(0)
    following.look()  # a look that has not ended is not doubled
    assert time.monotonic() - began < 0.2
    assert following.frames == ("nothing",)
    await following._task
    assert following.frames == ("first",)
    assert len(reader.threads) == 1
    assert threading.get_ident() not in reader.threads


async def test_the_first_look_may_be_waited_for_but_not_long(monkeypatch):
    reader = Reader()
    reader.seconds = 0.3
    following = Beside(reader)
    assert not following.is_first_look
    following.look()
    assert following.is_first_look
    monkeypatch.setattr(beside, "FIRST_SECONDS", 0.0)
    assert not following.is_first_look
    monkeypatch.undo()
    await following._task
    assert not following.is_first_look


async def test_an_error_nobody_thought_of_costs_one_frame(monkeypatch, caplog):
    monkeypatch.setattr(beside, "LOOK_SECONDS", 0.0)
    broken, sound = Reader(), Reader()
    following = Beside(broken, sound)
    assert await looked(following) == ("first", "first")
    broken.frame = None
    assert await looked(following) == ("nothing", "first")
    assert "the test's file could not be read" in caplog.text


@pytest.mark.parametrize(("is_of_now", "shown"), [(True, "nothing"), (False, "first")])
async def test_after_a_pause_what_was_of_now_is_forgotten(monkeypatch, is_of_now, shown):
    monkeypatch.setattr(beside, "LOOK_SECONDS", 0.0)
    following = Beside(Reader(is_of_now))
    await looked(following)
    monkeypatch.setattr(beside, "PAUSE_SECONDS", 0.0)
    following.look()
    assert following.frames == (shown,)  # until the thread has read
    await following._task
    assert following.frames == ("first",)


async def test_while_a_home_hangs_what_was_of_now_is_forgotten(monkeypatch):
    monkeypatch.setattr(beside, "LOOK_SECONDS", 0.0)
    reader, plan = Reader(), Reader(is_of_now=False)
    following = Beside(reader, plan)
    await looked(following)
    reader.seconds = 0.5
    following.look()
    monkeypatch.setattr(beside, "PAUSE_SECONDS", 0.1)
    await asyncio.sleep(0.2)
    following.look()
    assert following.frames == ("nothing", "first")
    await following._task
    assert following.frames == ("first", "first")
    assert len(reader.threads) == 2
