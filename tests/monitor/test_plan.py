"""The plan's file: private, replaced in one step, and read only where it is one's own."""

import json
import stat
from pathlib import Path

import pytest

from workshop_utils.cli import main
from workshop_utils.monitor.plan import MOST_BYTES, PlannedTerm, plan_file, read_plan, write_plan

TERMS = ((PlannedTerm("weights", "weights", 10), PlannedTerm("CUDA context", "process", 5)),)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
    return folder


def test_a_plan_is_read_as_it_was_written_and_the_next_replaces_it(runtime: Path) -> None:
    file = write_plan("a model", TERMS)
    assert file == plan_file()
    assert file.parent == runtime
    found = read_plan(file)
    assert found is not None
    assert (found.title, found.gpus) == ("a model", TERMS)
    write_plan("another", TERMS)
    assert [one.name for one in runtime.iterdir()] == [file.name]
    second = read_plan(file)
    assert second is not None
    assert second.title == "another"
    assert second.made_at >= found.made_at


def test_nobody_else_can_read_it_and_what_others_could_write_is_not_read(runtime: Path) -> None:
    file = write_plan("a model", TERMS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o660)
    assert read_plan(file) is None


def plan_text(made_at: str = "1", size: str = "1") -> str:
    term = f'{{"name": "weights", "kind": "weights", "bytes": {size}}}'
    return f'{{"title": "x", "made_at": {made_at}, "gpus": [[{term}]]}}'


NO_DATES = ["NaN", "Infinity", "1e400", "1" + 400 * "0", "null", "{}"]
NO_SIZES = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1",
    str(2**53 + 1),
    400 * "9",
    5000 * "9",
    "null",
    "[]",
]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", json.dumps({"title": "x", "made_at": 1, "gpus": [[{"name": "x"}]]}), "x" * 10,
        "[" * 100_000, "\xff\xfe",
        *(plan_text(made_at=date) for date in NO_DATES),
        *(plan_text(size=size) for size in NO_SIZES),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_none(text: str, runtime: Path) -> None:
    file = write_plan("a model", TERMS)
    file.write_text(plan_text())
    assert read_plan(file) is not None
    file.write_text(text, encoding="latin-1")
    assert read_plan(file) is None
    file.unlink()
    assert read_plan(file) is None


def test_a_file_too_large_for_a_plan_is_not_read(runtime: Path) -> None:
    file = write_plan("x" * MOST_BYTES, TERMS)
    assert read_plan(file) is None


def test_an_estimate_goes_to_the_panel(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "llama-3.1-8b", "--tokens", "8192", "--tp", "2", "--json", "--to-panel"]) == 0
    printed = capsys.readouterr()
    expected = json.loads(printed.out)["per_gpu"]
    assert "The panel of JupyterLab" in printed.err
    plan = read_plan(plan_file())
    assert plan is not None
    assert plan.title == "llama-3.1-8b, 1 × 8,192 tokens, bfloat16, transformers, TP 2"
    assert [sum(term.bytes for term in terms) for terms in plan.gpus] == [
        gpu["process_bytes"] for gpu in expected
    ]
