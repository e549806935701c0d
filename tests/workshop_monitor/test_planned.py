"""The plan's frame follows the plan's file."""

import json
from pathlib import Path

import pytest
from workshop_monitor import planned
from workshop_monitor.planned import NO_PLAN, Planned

from workshop_utils.monitor.plan import PlannedTerm, plan_file, write_plan


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(planned, "LOOK_SECONDS", 0.0)


def test_a_plan_appears_changes_and_goes() -> None:
    following = Planned()
    following.look()
    assert following.frame == NO_PLAN
    terms = ((PlannedTerm("weights", "weights", 10),),)
    write_plan("first", terms)
    following.look()
    first = json.loads(following.frame)
    assert (first["kind"], first["plan"]["title"]) == ("plan", "first")
    assert first["plan"]["gpus"] == [[{"name": "weights", "kind": "weights", "bytes": 10}]]
    write_plan("second", terms)
    following.look()
    assert json.loads(following.frame)["plan"]["title"] == "second"
    plan_file().unlink()
    following.look()
    assert following.frame == NO_PLAN


def test_a_file_of_others_is_no_plan() -> None:
    write_plan("first", ((PlannedTerm("weights", "weights", 10),),)).chmod(0o644)
    following = Planned()
    following.look()
    assert following.frame == NO_PLAN


def test_the_date_is_looked_at_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "LOOK_SECONDS", 0.9)
    following = Planned()
    following.look()
    write_plan("first", ((PlannedTerm("weights", "weights", 10),),))
    following.look()
    assert following.frame == NO_PLAN
