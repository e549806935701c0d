"""Work that waits: at once without a loop, after a pause with one, and the newest only."""

import asyncio
from collections.abc import Iterator

from workshop_utils.widgets import later
from workshop_utils.widgets.later import Later


def steps(done: list[str], name: str, count: int = 3) -> Iterator[None]:
    for number in range(count):
        done.append(f"{name}{number}")
        yield


def test_without_an_event_loop_all_is_done_at_once() -> None:
    done: list[str] = []
    Later().start(steps(done, "a"))
    assert done == ["a0", "a1", "a2"]


def test_on_a_loop_it_waits_and_lets_others_in_between_steps() -> None:
    done: list[str] = []

    async def kernel() -> None:
        Later().start(steps(done, "a", 2))
        assert done == []
        while len(done) < 2:
            await asyncio.sleep(0)
            if done == ["a0"]:
                done.append("message")
        await asyncio.sleep(5 * later.GAP)

    asyncio.run(asyncio.wait_for(kernel(), 10))
    assert done == ["a0", "message", "a1"]


def test_a_new_one_takes_the_place_of_the_old_even_half_way() -> None:
    done: list[str] = []

    async def kernel() -> None:
        waiting = Later()
        waiting.start(steps(done, "a", 1000))
        while not done:
            await asyncio.sleep(later.GAP)
        waiting.start(steps(done, "b", 1))
        before = len(done)
        while "b0" not in done:
            await asyncio.sleep(later.GAP)
        assert done[before:] == ["b0"]

    asyncio.run(asyncio.wait_for(kernel(), 10))


def test_finish_does_the_rest_now_and_once() -> None:
    done: list[str] = []

    async def kernel() -> None:
        waiting = Later()
        waiting.start(steps(done, "a"))
        waiting.finish()
        assert done == ["a0", "a1", "a2"]
        await asyncio.sleep(2 * later.PAUSE)

    asyncio.run(kernel())
    assert done == ["a0", "a1", "a2"]
