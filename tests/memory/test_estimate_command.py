"""``workshop estimate`` as a reader meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workshop_utils.cli import main
from workshop_utils.hardware.catalogue import load_gpus
from workshop_utils.memory.estimate_text import BAR_WIDTH, bar
from workshop_utils.models.catalogue import CONFIGS


def test_the_table_names_every_term_its_certainty_and_the_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "gemma-3-27b", "--tokens", "131072"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == "gemma-3-27b: 27,432,406,640 parameters; 52 sliding + 10 full attention layers"
    (mlp,) = [line for line in lines if line.startswith("weights: mlp")]
    assert mlp.split()[-3:] == ["43.0", "GB", "exact"]
    (longest,) = [line for line in lines if "█" * BAR_WIDTH in line]
    assert longest.startswith("cache beyond what is kept")
    (last,) = [line for line in lines if line.startswith("process, as NVML shows it")]
    assert last.split()[-5:] == ["217.3", "GB", "=", "202.4", "GiB"]
    assert "lower bound" not in text and "not counted" not in text.lower()
    assert all(gpu.name in text for gpu in load_gpus())
    assert max(map(len, lines)) <= 110


def test_one_gpu_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "qwen3-30b-a3b", "--gpu", "h200"]) == 0
    text = capsys.readouterr().out
    assert "3.35 B active a token" in text
    assert "H200 139.8 GiB" in text
    assert "A40" not in text


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", "Qwen/Qwen3-8B", "--tokens", "8192", "--batch", "2", "--dtype", "int8", "--json"]
    words += [
        "--kv-dtype",
        "float16",
        "--engine",
        "transformers",
        "--attention",
        "sdpa",
        "--tp",
        "1",
        "--pp",
        "1",
    ]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["model"], result["tokens"], result["batch"]) == ("qwen3-8b", 8192, 2)
    assert (result["dtype"], result["kv_dtype"], result["gpu"]) == ("int8", "float16", None)


@pytest.mark.parametrize(
    "words",
    [
        ["gemma-3-27"],
        ["gemma-3-27b", "--tokens", "-1"],
        ["gemma-3-27b", "--tokens", "0"],
        ["gemma-3-27b", "--batch", "-2"],
        ["gemma-3-27b", "--tp", "3"],
        ["gemma-3-27b", "--tp", "0"],
        ["gemma-3-27b", "--pp", "63"],
        ["gemma-3-27b", "--engine", "vllm"],
        ["gemma-3-27b", "--engine", "sglang"],
        ["gemma-3-27b", "--engine", "vllm", "--gpu", "H200", "--cache", "static"],
        ["gemma-3-27b", "--engine", "vllm", "--gpu", "H200", "--padded"],
        ["gemma-3-27b", "--engine", "vllm", "--gpu", "H200", "--prefill-chunk", "512"],
        ["gemma-3-27b", "--engine", "vllm", "--gpu", "H200", "--max-num-seqs", "9000"],
        [
            "gemma-3-27b",
            "--engine",
            "vllm",
            "--gpu",
            "H200",
            "--max-num-seqs",
            "8",
            "--max-num-batched-tokens",
            "4",
        ],
        ["flan-t5-xl", "--engine", "vllm", "--gpu", "H200"],
        ["gemma-3-27b", "--engine-version", "0.26"],
        ["gemma-3-27b", "--engine", "transformers", "--engine-version", "0.26"],
        ["gemma-3-27b", "--max-num-seqs", "8"],
        ["gemma-3-27b", "--gpu-memory-utilization", "0.9"],
        ["gemma-3-27b", "--cpu-memory", "64"],
        ["gemma-3-27b", "--cache", "paged"],
        ["gemma-3-27b", "--attention", "flash"],
        ["gemma-3-27b", "--new-tokens", "5000"],
        ["gemma-3-27b", "--tokens", "10", "--new-tokens", "11"],
        ["gemma-3-27b", "--new-tokens", "0"],
        ["gemma-3-27b", "--prefill-chunk", "0"],
        ["gemma-3-27b", "--dtype", "half"],
        ["gemma-3-27b", "--gpu", "A100"],
        ["missing/config.json"],
        ["."],
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert main(["estimate", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("workshop estimate: ")
    assert captured.err.count("\n") == 1


def test_help_has_examples_and_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["estimate", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "workshop estimate gemma-3-27b --tokens 131072" in text
    assert "process_bytes" in text


def test_a_lower_bound_says_so_and_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "granite-4-h-small"]) == 0
    text = capsys.readouterr().out.lower()
    assert "lower bound" in text and "mamba layers compute with" in text


@pytest.mark.parametrize(("share", "text"), [(0, ""), (1, "█" * BAR_WIDTH), (0.5, "█" * (BAR_WIDTH // 2))])
def test_bars_fill_with_their_share(share: float, text: str) -> None:
    assert bar(share) == text.ljust(BAR_WIDTH)


def run_command(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workshop_utils", "estimate", *words]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)  # type: ignore[call-overload]


def test_a_number_that_is_none_is_one_sentence() -> None:
    done = run_command("gemma-3-4b", "--tokens", "128K")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "'128K' is not a whole number; write it out" in done.stderr


def test_an_output_that_cannot_be_written_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = run_command("gemma-3-4b", stdout=full)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as gone:
        gone.wait()
        done = run_command("gemma-3-4b", stdout=gone.stdin)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("width", [10**400, 10**13])
def test_a_width_that_nobody_builds_is_one_sentence(tmp_path: Path, width: int) -> None:
    config = tmp_path / "config.json"
    fields = json.loads(Path(CONFIGS, "llama-3.1-8b.json").read_text(encoding="utf-8"))
    config.write_text(json.dumps(fields | {"hidden_size": width}), encoding="utf-8")
    done = run_command(str(config))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "hidden_size" in done.stderr
