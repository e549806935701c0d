"""Each case in its own process: what ends a child is a result, and nothing outlives the run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from workshop_utils.measure.bench_memory_case import MemoryCase
from workshop_utils.measure.bench_memory_children import CaseResult, run_cases

WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOURNAL", str(tmp_path / "journal"))
    return tmp_path / "journal"


def run(*models: str, limit: float = 30) -> list[CaseResult]:
    return list(run_cases([MemoryCase(name, 10 + i) for i, name in enumerate(models)], "cpu", limit, WORKER))


def pids(journal: Path) -> set[int]:
    return {int(line.split()[2]) for line in journal.read_text(encoding="utf-8").splitlines()}


def alive(journal: Path) -> set[int]:
    return {
        pid for pid in pids(journal)
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    }  # fmt: skip


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_cases_run_one_at_a_time_while_the_next_one_gets_ready(journal: Path) -> None:
    results = run("a", "b", "c")
    assert [(result.outcome, result.values[0]["process"]) for result in results] == [
        ("measured", 10), ("measured", 11), ("measured", 12),
    ]  # fmt: skip
    lines = [tuple(line.split()[:2]) for line in journal.read_text(encoding="utf-8").splitlines()]
    measuring = [line for line in lines if line[0] != "start"]
    assert measuring == [(event, tokens) for tokens in ("10", "11", "12") for event in ("go", "end")]
    assert len(pids(journal)) == 3


def test_the_next_child_has_started_before_the_present_one_ends(journal: Path) -> None:
    cases = [MemoryCase("a", 10), MemoryCase("b", 11)]
    running = run_cases(cases, "cpu", 30, WORKER)
    assert next(running).outcome == "measured"
    wait_until(lambda: "start 11" in journal.read_text(encoding="utf-8"))
    assert "go 11" not in journal.read_text(encoding="utf-8")
    assert [result.outcome for result in running] == ["measured"]


@pytest.mark.parametrize(
    ("model", "outcome", "message"),
    [
        ("crashes", "failed", "while computing the prefill: the process ended with code 3: RuntimeError: it"),
        ("is-killed", "failed", "while computing the prefill: the process ended by SIGKILL, as when the"),
        ("dies-early", "failed", "while preparing: the process ended with code 1: no such model"),
        ("half-a-note", "failed", "the process ended with code 0: it said nothing"),
        ("hangs", "timed_out", "while computing the prefill: stopped after 10 s"),
    ],
)
def test_a_case_that_ends_badly_is_a_result_and_the_next_one_runs(
    journal: Path, model: str, outcome: str, message: str
) -> None:
    # The limit starts when the child may begin; importing took place before.
    bad, good = run(model, "a", limit=10 if model == "hangs" else 30)
    assert bad.outcome == outcome
    assert message in (bad.message or "")
    assert good.outcome == "measured"
    assert not alive(journal)


def test_a_run_that_is_given_up_leaves_no_child(journal: Path) -> None:
    running = run_cases(
        [MemoryCase("a", 10), MemoryCase("hangs", 11), MemoryCase("a", 12)], "cpu", 30, WORKER
    )
    next(running)
    wait_until(lambda: "start 11" in journal.read_text(encoding="utf-8"))
    running.close()
    assert not alive(journal)


SCRIPT = """
import sys
from workshop_utils.measure.bench_memory_case import MemoryCase
from workshop_utils.measure.bench_memory_children import run_cases
list(run_cases([MemoryCase("hangs", 10), MemoryCase("a", 11)], "cpu", 60, tuple(sys.argv[1:])))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_parent_that_is_ended_leaves_no_child(journal: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *WORKER], stderr=subprocess.DEVNULL, env=os.environ
    )
    wait_until(lambda: journal.exists() and {"go 10", "start 11"} <= starts(journal))
    children = pids(journal)
    assert alive(journal) == children
    assert len(children) == 2
    parent.send_signal(how)
    parent.wait(20)
    wait_until(lambda: not alive(journal))


def starts(journal: Path) -> set[str]:
    return {" ".join(line.split()[:2]) for line in journal.read_text(encoding="utf-8").splitlines()}
