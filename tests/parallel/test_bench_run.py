"""``workshop bench run`` as a reader types it: real ranks, the small real model, and what is refused."""

import argparse
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import FAMILIES, write_config

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.machine import InstalledGpu, Machine
from workshop_utils.measure.measurement import load_measurements
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel import bench_checks, bench_run_command
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.bench_checks import check_host_memory, check_memory
from workshop_utils.parallel.bench_result import RunFigures
from workshop_utils.parallel.bench_worker import unread_bytes
from workshop_utils.parallel.data import Answered
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.padded_heads import with_kv_heads, with_more_heads
from workshop_utils.parallel.plain import load_model
from workshop_utils.parallel.spec import read_spec
from workshop_utils.parallel.weights import TwinWeights

SMALL = ["--model", "smollm2-135m", "--tokens", "16", "--new", "8", "--repeats", "1", "--device", "cpu"]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workshop_utils", "bench", "run", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def figures(*words: str) -> dict[str, Any]:
    done = bench(*words, "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize(
    ("strategy", "words", "layout"),
    [
        ("tensor", ["--ranks", "3"], "DP 1 × PP 1 × TP 3"),
        ("tensor", ["--ranks", "2", "--kv-heads", "4"], "DP 1 × PP 1 × TP 2"),
        ("pipeline", ["--ranks", "2", "--micro-batches", "2", "--batch", "2"], "DP 1 × PP 2 × TP 1"),
    ],
)
def test_a_split_of_the_real_model_says_what_transformers_says(
    strategy: str, words: list[str], layout: str
) -> None:
    found = figures("--strategy", strategy, *words, *SMALL, "--check")
    assert found["dtype"] == "float32"  # on a CPU
    assert found["layout"] == layout
    assert found["strategy"] == strategy
    assert found["max_abs_logit_difference"] <= 1e-4
    assert found["greedy_tokens_equal"] is True
    assert len(found["peak_bytes"]) == found["ranks"] == len(found["weight_bytes"])
    assert found["ttft_ms"] > 0 < found["tpot_ms"]
    assert found["tokens_per_s"] == pytest.approx(1000 * found["batch"] / found["tpot_ms"])
    # Each rank holds its share: the ranks together hold the model, and copies of norms and a tied head.
    alone = 134_515_008 * 4
    assert max(found["weight_bytes"]) < 0.8 * alone
    assert sum(found["weight_bytes"]) >= alone


@pytest.mark.usefixtures("small_model")
def test_replicas_share_one_queue_of_prompts() -> None:
    found = figures("--strategy", "data", "--ranks", "2", *SMALL, "--batch", "2", "--repeats", "2")
    assert found["layout"] == "DP 2 × PP 1 × TP 1"
    assert sum(found["answers_by_replica"]) == 2 * 2 * 2
    assert found["failed_replicas"] == {}
    assert found["wall_tokens_per_s"] > 0


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize(
    ("split", "layout"), [("--tp", "DP 2 × PP 1 × TP 2"), ("--pp", "DP 2 × PP 2 × TP 1")]
)
def test_a_replica_may_itself_be_split(split: str, layout: str) -> None:
    words = ["--ranks", "4", split, "2", "--kv-heads", "4", "--batch", "2", "--repeats", "2"]
    found = figures("--strategy", "data", *SMALL, *words, "--check")
    assert found["layout"] == layout
    assert found["max_abs_logit_difference"] <= 1e-4
    assert found["greedy_tokens_equal"] is True
    assert sum("greedy_tokens_equal" in rank for rank in found["runs"]) == 2  # each replica has looked
    assert sum(found["answers_by_replica"]) == 2 * 2 * 2
    assert found["failed_replicas"] == {}
    assert len(found["weight_bytes"]) == 4
    assert max(found["weight_bytes"]) < 0.8 * 134_515_008 * 4


@pytest.mark.usefixtures("small_model")
def test_a_split_in_bfloat16_is_as_near_as_rounding_allows() -> None:
    words = ["--ranks", "2", "--kv-heads", "4", "--batch", "8", "--tokens", "32"]
    found = figures("--strategy", "tensor", *SMALL, *words, "--dtype", "bfloat16", "--check")
    assert found["relative_logit_difference"] <= 2e-2


def gpu(index: int, gib: int) -> InstalledGpu:
    return InstalledGpu(index, f"GPU-{index}", "Tester", gib * 2**30, (9, 0), None)


def test_a_gpu_smaller_than_the_others_is_named_before_anything_starts() -> None:
    case = BenchCase("tensor", "llama-3.1-8b", ranks=2, tensor=2, twin=True)
    check_memory(case, Machine((gpu(0, 80), gpu(1, 16)), None, None, None))
    uneven = Machine((gpu(0, 80), gpu(1, 6)), None, None, None)
    with pytest.raises(WorkshopError, match=r"rank 1 .* GPU 1 \(Tester\) has 6\.0 GiB; take more ranks"):
        check_memory(case, uneven)


def test_a_model_that_fills_the_memory_is_refused_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_checks, "free_host_bytes", lambda: 64 * 2**30)
    with pytest.raises(WorkshopError, match=r"one rank .* need 13\d\.\d GiB and this job may use 64\.0 GiB"):
        bench_checks.checked(BenchCase("plain", "llama-3.1-70b", twin=True), "cpu")


def test_the_ranks_of_a_cpu_share_its_memory() -> None:
    case = BenchCase("data", "llama-3.1-8b", ranks=2, twin=True)
    architecture = find_architecture("llama-3.1-8b")
    for enough in (40 * 2**30, None):  # None: nothing says how much there is
        check_host_memory(case, architecture, enough)
    with pytest.raises(
        WorkshopError, match=r"2 ranks on the CPU are predicted to need 3\d\.\d GiB and this job"
    ):
        check_host_memory(case, architecture, 20 * 2**30)
    padded = BenchCase("tensor", "llama-3.1-8b", twin=True, kv_heads=16)  # the engine does not know these
    with pytest.raises(WorkshopError, match=r"one rank on the CPU is predicted to hold weights of 1\d"):
        check_host_memory(
            padded, with_more_heads(architecture, with_kv_heads(read_spec("llama-3.1-8b"), 16)), 0
        )


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_plain_transformers_reads_what_our_decoder_reads(tmp_path: Path, family: str) -> None:
    model = str(write_config(tmp_path, family))
    spec, architecture = read_spec(model), find_architecture(model)
    ours = load_decoder(
        spec, TwinWeights("cpu", torch.float32, spec.norm_offset), room=20, device="cpu", dtype=torch.float32,
    )  # fmt: skip
    plain = load_model(model, twin=True, device="cpu", dtype=torch.float32)
    assert ours.unread_bytes(3) == unread_bytes(plain, architecture, 3)
    assert ours.cache_bytes(3, 20) == kv_cache_bytes(architecture, 20, 3, "float32")


def figures_of(case: BenchCase, failures: dict[int, str] | None = None) -> RunFigures:
    """Return made-up figures; of replicas, where some failed."""
    rank = {
        "rank": 0, "stage": 0, "tensor_rank": 0, "ttft_ms": [1.0], "tpot_ms": [1.0], "peak_bytes": 1,
        "weight_bytes": 1, "copy_bytes_per_second": 1e9, "hardware": "CPU",
    }  # fmt: skip
    answered = None if failures is None else Answered([[1]], {0: 1, 1: 0}, failures, 1.0)
    return RunFigures(case, "made-up", (rank,), None, answered)


def made_up(monkeypatch: pytest.MonkeyPatch, *words: str, failures: dict[int, str] | None = None) -> int:
    """Return the exit code of a run whose figures are made up."""
    monkeypatch.setattr(bench_run_command, "run_case", lambda case, *_: figures_of(case, failures))
    parser = argparse.ArgumentParser()
    bench_run_command.configure(parser)
    return bench_run_command.run(parser.parse_args([*words, *SMALL]))


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize(("failures", "code"), [({}, 0), ({1: "killed"}, 1)], ids=["none", "one"])
def test_a_replica_that_failed_is_in_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, failures: dict[int, str], code: int
) -> None:
    assert made_up(monkeypatch, "--strategy", "data", "--ranks", "2", failures=failures) == code


@pytest.mark.usefixtures("small_model")
def test_a_disk_that_fills_up_loses_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bench_run_command, "append", full)
    out = tmp_path / "runs.jsonl"
    assert made_up(monkeypatch, "--strategy", "plain", "--out", str(out)) == 1
    said = capsys.readouterr()
    assert "time per output token" in said.out
    assert "No space left on device" in said.err
    assert not out.exists()


@pytest.mark.usefixtures("small_model")
def test_several_values_make_a_table_and_a_file_of_measurements(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    done = bench("--strategy", "plain,tensor", *SMALL, "--batch", "1,2", "--out", str(out))
    assert done.returncode == 0, done.stderr[-2000:]
    table = done.stdout.splitlines()
    assert [line.split()[:4] for line in table[3:]] == [
        ["plain", "×", "1", "1"], ["plain", "×", "1", "2"], ["tensor", "×", "1", "1"], ["tensor", "×", "1",
        "2"],
    ]  # fmt: skip
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["settings"]["batch"] for row in rows] == [1, 2, 1, 2]
    (tmp_path / "runs.json").write_text(json.dumps(rows), encoding="utf-8")
    loaded = load_measurements(tmp_path / "runs.json")
    assert all(
        one.values["tokens_per_s"].unit == "tokens/s" and one.bytes_of("peak_rank_0") for one in loaded
    )
    assert all(one.versions["torch"] and one.date and one.hardware.startswith("CPU") for one in loaded)


@pytest.mark.usefixtures("small_model")
def test_a_table_for_people(tmp_path: Path) -> None:
    done = bench("--strategy", "plain", *SMALL)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "time to first token" in done.stdout
    assert "share of the roofline" in done.stdout


@pytest.mark.usefixtures("small_model")
def test_plain_transformers_beside_a_pipeline_has_no_micro_batches() -> None:
    parser = argparse.ArgumentParser()
    bench_run_command.configure(parser)
    words = ["--strategy", "plain,pipeline", *SMALL, "--ranks", "2", "--micro-batches", "2"]
    asked = parser.parse_args(words)
    cases = [bench_run_command.case_of(asked, "smollm2-135m", strategy, 2, 16) for strategy in asked.strategy]
    assert [(case.ranks, case.micro_batches) for case in cases] == [(1, 1), (2, 2)]


@pytest.mark.usefixtures("small_model")
def test_plain_transformers_beside_a_split_is_neither_split_nor_padded() -> None:
    parser = argparse.ArgumentParser()
    bench_run_command.configure(parser)
    words = ["--strategy", "plain,tensor", *SMALL, "--ranks", "2", "--tp", "2", "--kv-heads", "4"]
    plain, split = bench_run_command.cases_of(parser.parse_args(words))
    assert (plain.tensor, plain.kv_heads) == (1, None)
    assert (split.tensor, split.kv_heads) == (2, 4)


REFUSED = [
    (["--strategy", "tensor", "--ranks", "2", *SMALL], r"tensor parallel size 2 does not fit.*choose 1, 3"),
    (["--strategy", "plain", "--ranks", "2", *SMALL], r"plain transformers runs on one rank, not 2"),
    (["--strategy", "pipeline", "--ranks", "31", *SMALL], r"31 is more than the 30 layers"),
    (["--strategy", "tensor", "--ranks", "3", "--tp", "2", *SMALL], r"3 ranks are no multiple"),
    (["--strategy", "plain", *SMALL, "--tokens", "9000"], r"9000 \+ 8 tokens are more than the 8,192"),
    (["--strategy", "plain", *SMALL, "--batch", "0"], r"batch 0 is out of range"),
    # One that fits in any machine's memory, which is looked at first.
    (["--strategy", "plain", "--model", "qwen3-0.6b"], r"no weights of qwen3-0.6b are here; add --twin"),
    (["--strategy", "plain", "--model", "llama-9"], r"no model 'llama-9'"),
    (["--strategy", "tensor", "--ranks", "2", "--twin", "--model", "gpt-oss-20b"], r"gpt_oss.*choose"),
    (["--strategy", "sideways", *SMALL], r"strategy 'sideways' is not one of plain, tensor"),
    (["--kv-heads", "5", "--ranks", "2", "--strategy", "tensor", *SMALL], r"15 attention heads.*choose 1\."),
    (["--kv-heads", "2", "--ranks", "2", "--strategy", "tensor", *SMALL], r"3 KV heads and cannot be padded"),
    (["--micro-batches", "2", "--strategy", "pipeline", *SMALL], r"2 micro-batches are more than the 1 pro"),
    (["--strategy", "tensor", *SMALL, "--without", "graph,luck"], r"no trick 'luck'.*choices: graph"),
    (["--strategy", "", *SMALL], r"--strategy is empty; give one or more of plain, tensor, pipeline, data\."),
    (["--strategy", "plain", *SMALL, "--model", ""], r"--model is empty; give one or more of .*smollm2-135m"),
    (["--strategy", "plain", *SMALL, "--batch", ""], r"--batch is empty; give whole numbers"),
    (["--tp", "0", "--strategy", "tensor", *SMALL], r"--tp 0 is out of range"),
    (["--pp", "0", "--strategy", "tensor", *SMALL], r"--pp 0 is out of range"),
    (["--pp", "0", "--strategy", "pipeline", *SMALL], r"--pp 0 is out of range"),
    (["--pp", "3", "--ranks", "2", "--strategy", "tensor", *SMALL], r"2 ranks are no multiple.*--ranks 3"),
    (["--kv-heads", "4", "--strategy", "plain", *SMALL], r"pads our own decoder; choose --strategy tensor"),
    (["--strategy", "plain", *SMALL, "--new", "1"], r"give --new 2 or more: the first token is"),
    (["--out", "/nonexistent/x.jsonl", "--strategy", "plain", *SMALL], r"its folder is missing; make it, or"),
    (["--out", "/", "--strategy", "plain", *SMALL], r"/ cannot be written: Is a directory; give another"),
]  # fmt: skip


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(words[:4]) for words, _ in REFUSED])
def test_what_cannot_be_run_is_said_in_one_sentence(words: list[str], message: str) -> None:
    import re

    done = bench(*words)
    assert done.returncode == 2
    assert not done.stdout
    assert re.search(message, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("words", [("plain",), ("tensor", "--ranks", "2")], ids=["plain", "tensor"])
def test_a_half_written_checkpoint_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = write_config(tmp_path, "llama")
    (folder / "model.safetensors").write_bytes(b'\x10\x00\x00\x00\x00\x00\x00\x00{"a": ')
    done = bench("--strategy", *words, "--model", str(folder), "--device", "cpu")
    assert done.returncode == 1
    assert "half-written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize("strategy", ["tensor", "data"])
def test_an_interrupt_ends_every_rank(strategy: str) -> None:
    mark = f"WORKSHOP_TEST_MARK={uuid.uuid4().hex}"
    words = ["--strategy", strategy, "--ranks", "2", "--kv-heads", "4", *SMALL, "--new", "4000"]
    command = [sys.executable, "-m", "workshop_utils", "bench", "run", *words]
    name, value = mark.split("=")
    with subprocess.Popen(
        command, env={**os.environ, name: value}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        wait_until(lambda: len(processes_with(mark)) >= 4, seconds=60)  # command, torchrun, ranks
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=40) == 130
    wait_until(lambda: not processes_with(mark), seconds=10)


def processes_with(mark: str) -> list[int]:
    """Return the processes that have a variable in their environment, by the kernel's word."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
