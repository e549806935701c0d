"""The plan's frame follows the plan's file."""

import json
import os
from pathlib import Path

import pytest
from workshop_monitor import planned
from workshop_monitor.planned import NO_PLAN, Planned

from workshop_utils.monitor.plan import Plan, PlannedTerm, plan_file, write_plan

TERMS = ((PlannedTerm("weights", "weights", 10),),)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))


def test_a_plan_appears_changes_and_goes() -> None:
    following = Planned()
    assert following.read() == NO_PLAN
    write_plan("first", TERMS)
    first = json.loads(following.read())
    assert (first["kind"], first["plan"]["title"]) == ("plan", "first")
    assert first["plan"]["gpus"] == [[{"name": "weights", "kind": "weights", "bytes": 10}]]
    write_plan("second", TERMS)
    assert json.loads(following.read())["plan"]["title"] == "second"
    plan_file().unlink()
    assert following.read() == NO_PLAN


def test_a_file_of_others_is_no_plan() -> None:
    write_plan("first", TERMS).chmod(0o644)
    assert Planned().read() == NO_PLAN


def test_a_file_that_did_not_change_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    write_plan("first", TERMS)
    reads, read_plan = [], planned.read_plan
    monkeypatch.setattr(planned, "read_plan", lambda file: reads.append(file) or read_plan(file))
    following = Planned()
    first = following.read()
    assert first == following.read() != NO_PLAN
    assert len(reads) == 1


def test_a_date_that_is_no_number_reaches_no_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    write_plan("first", TERMS)
    following = Planned()
    monkeypatch.setattr(planned, "read_plan", lambda _file: Plan("first", float("nan"), TERMS))
    with pytest.raises(ValueError, match="JSON"):
        following.read()
    assert following.read() == NO_PLAN


def test_a_damaged_plan_takes_the_place_of_a_good_one() -> None:
    file = write_plan("first", TERMS)
    following = Planned()
    assert following.read() != NO_PLAN
    file.write_text(file.read_text(encoding="utf-8").replace('"bytes": 10', '"bytes": 1e400'))
    os.utime(file, ns=(1, 1))  # another date for certain
    assert following.read() == NO_PLAN
