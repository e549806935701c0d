"""``workshop bench memory`` from the command line: the plan, a real run on the CPU, bad input."""

import json
from pathlib import Path

import pytest

from tests.measure.test_bench_memory_worker import TINY
from workshop_utils.cli import main
from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.machine import InstalledGpu, Machine
from workshop_utils.measure import bench_memory_command
from workshop_utils.measure.bench_memory_machine import bench_machine
from workshop_utils.measure.measurement import load_measurements

TOTAL = 150_754_820_096
H200 = InstalledGpu(0, "GPU-aaaa", "NVIDIA H200", TOTAL, (9, 0), None)
TWO = Machine((H200, InstalledGpu(1, "GPU-bbbb", "NVIDIA H200", TOTAL, (9, 0), None)), None, "580.1", (13, 0))
NONE = Machine((), "no NVIDIA driver", None, None)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(TINY), encoding="utf-8")
    return str(tmp_path / "model")


def bench(*words: str) -> int:
    return main(["bench", "memory", *words])


def test_the_list_predicts_every_case_and_runs_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_memory_command, "run_cases", None)
    out = tmp_path / "out.jsonl"
    assert (
        bench(
            "--list", "--models", "qwen3-8b,phi-4", "--tokens", "64,128", "--device", "cpu", "--out", str(out)
        )
        == 0
    )
    text = capsys.readouterr().out
    assert text.count("qwen3-8b") == text.count("phi-4") == 2
    assert not out.exists()
    assert bench("--list", "--json", "--models", "qwen3-8b", "--batch", "1,2") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["case"]["batch"] for one in listed["cases"]] == [1, 2]
    assert listed["cases"][0]["predicted"]["per_gpu"][0]["peak_bytes"] > 16e9


@pytest.mark.slow
def test_a_run_measures_in_fresh_processes_and_writes_what_it_measured(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("", encoding="utf-8")
    options = ["--models", tiny, "--tokens", "40", "--batch", "1,3", "--device", "cpu", "--out", str(out)]
    assert bench(*options, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [one["outcome"] for one in printed["cases"]] == ["measured", "measured"]
    assert printed["summary"]["held out"]["cases"] == 2
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["settings"]["batch"] for row in rows] == [1, 3]
    (tmp_path / "all.json").write_text(json.dumps(rows), encoding="utf-8")
    for one in load_measurements(tmp_path / "all.json"):
        assert one.bytes_of("weights") == printed["cases"][0]["measured"][0]["weights"]
        assert one.bytes_of("peak_allocated") >= one.bytes_of("prefill_peak")
        assert {"torch", "transformers", "accelerate", "Python"} <= one.versions.keys()
        assert one.hardware.startswith("CPU")
        assert one.date
        assert (one.settings["outcome"], one.settings["new_tokens"], one.settings["rank"]) == (
            "measured",
            16,
            0,
        )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--tokens", "64"], "tokens of which model"),
        (["--models", "qwen3-8b", "--cases", "c.jsonl"], "--cases says it all"),
        (["--models", "no-such-model"], "no model 'no-such-model'"),
        (["--models", "qwen3-8b", "--attention", "flex"], "choose sdpa or eager"),
        (
            ["--models", "qwen3-8b", "--pp", "2", "--device", "cpu"],
            "pipeline parallel size 2 needs as many GPUs",
        ),
        (["--limit", "0"], "--limit 0 is no time"),
        (["--limit", "nan"], "--limit nan is no time"),
        (["--cases", "none.jsonl"], "cannot read the cases"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words) == 2
    shown = capsys.readouterr().err
    assert sentence in shown
    assert shown.count("\n") == 1


def test_numbers_that_are_none_are_the_parsers_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench("--models", "qwen3-8b", "--tokens", "4k")
    assert "'4k' is no list of whole numbers" in capsys.readouterr().err


def test_the_machine_is_its_gpus_or_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = bench_machine(None, TWO)
    assert (found.device, found.gpus, found.hardware, found.driver) == ("cuda", 2, "2 × NVIDIA H200", "580.1")
    assert found.gpu is not None
    assert found.memory_bytes == found.gpu.usable_bytes < TOTAL
    assert bench_machine(None, NONE).device == bench_machine("cpu", TWO).device == "cpu"
    with pytest.raises(WorkshopError, match="no NVIDIA driver"):
        bench_machine("cuda", NONE)


@pytest.mark.parametrize(("visible", "gpus"), [("1", 1), ("0,1", 2), ("GPU-bb", 1), ("", 0), ("7", 0)])
def test_only_visible_gpus_count(monkeypatch: pytest.MonkeyPatch, visible: str, gpus: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert bench_machine(None, TWO).gpus == gpus


def test_a_gpu_that_the_catalogue_has_not_counts_with_the_drivers_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    new = InstalledGpu(0, "GPU-cccc", "NVIDIA X9", 10**12, (19, 0), None)
    found = bench_machine(None, Machine((new,), None, None, None))
    assert (found.gpu, found.memory_bytes) == (None, 10**12)
