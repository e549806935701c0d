"""The plan's frame follows the plan's file."""

import asyncio
import json
import os
import threading
import time
from pathlib import Path

import pytest
from workshop_monitor import planned
from workshop_monitor.planned import NO_PLAN, Planned

from workshop_utils.monitor.plan import Plan, PlannedTerm, plan_file, write_plan

TERMS = ((PlannedTerm("weights", "weights", 10),),)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(planned, "LOOK_SECONDS", 0.0)


async def looked(following: Planned) -> str:
    following.look()
    await following._task
    return following.frame


async def test_a_plan_appears_changes_and_goes() -> None:
    following = Planned()
    assert await looked(following) == NO_PLAN
    write_plan("first", TERMS)
    first = json.loads(await looked(following))
    assert (first["kind"], first["plan"]["title"]) == ("plan", "first")
    assert first["plan"]["gpus"] == [[{"name": "weights", "kind": "weights", "bytes": 10}]]
    write_plan("second", TERMS)
    assert json.loads(await looked(following))["plan"]["title"] == "second"
    plan_file().unlink()
    assert await looked(following) == NO_PLAN


async def test_a_file_of_others_is_no_plan() -> None:
    write_plan("first", TERMS).chmod(0o644)
    assert await looked(Planned()) == NO_PLAN


async def test_the_date_is_looked_at_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "LOOK_SECONDS", 0.9)
    following = Planned()
    await looked(following)
    write_plan("first", TERMS)
    assert await looked(following) == NO_PLAN


async def test_a_file_that_did_not_change_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    write_plan("first", TERMS)
    reads, read_plan = [], planned.read_plan
    monkeypatch.setattr(planned, "read_plan", lambda file: reads.append(file) or read_plan(file))
    following = Planned()
    first = await looked(following)
    assert first == await looked(following) != NO_PLAN
    assert len(reads) == 1


@pytest.mark.parametrize("slow", ["stat", "read"])
async def test_a_slow_home_holds_up_nobody(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plan("first", TERMS)
    following = Planned()
    calls, owner = [], threading.get_ident()

    def slowly(call):
        def wrapped(*arguments):
            calls.append(threading.get_ident())
            time.sleep(0.3)
            return call(*arguments)

        return wrapped

    if slow == "stat":
        following._file = type("SlowPath", (type(following._file),), {"stat": slowly(Path.stat)})(plan_file())
    else:
        monkeypatch.setattr(planned, "read_plan", slowly(planned.read_plan))
    began = time.monotonic()
    following.look()
    await asyncio.sleep(0)
    following.look()  # a look that has not ended is not doubled
    assert time.monotonic() - began < 0.2
    assert following.frame == NO_PLAN
    await following._task
    assert len(calls) == 1
    assert owner not in calls
    assert json.loads(following.frame)["plan"]["title"] == "first"


async def test_an_error_nobody_thought_of_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_plan("first", TERMS)
    following = Planned()
    # A date that is no number must not reach a panel, wherever it came from.
    monkeypatch.setattr(planned, "read_plan", lambda _file: Plan("first", float("nan"), TERMS))
    assert await looked(following) == NO_PLAN
    assert "could not be read" in caplog.text


async def test_a_damaged_plan_takes_the_place_of_a_good_one() -> None:
    file = write_plan("first", TERMS)
    following = Planned()
    assert await looked(following) != NO_PLAN
    file.write_text(file.read_text(encoding="utf-8").replace('"bytes": 10', '"bytes": 1e400'))
    os.utime(file, ns=(1, 1))  # another date for certain
    assert await looked(following) == NO_PLAN
