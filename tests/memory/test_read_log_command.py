"""``workshop read-log`` as a reader meets it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workshop_utils.cli import main
from workshop_utils.memory.logs.names import find_named, stem

LOGS = Path(__file__).parent / "logs"
OOM = str(LOGS / "torch-2.8-sdpa.log")


def json_of(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["read-log", *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert isinstance(result, dict)
    return result


def test_a_message_out_of_memory_beside_our_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read-log", OOM, "--model", "qwen3-0.6b", "--tokens", "16384"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("transformers, qwen3-0.6b in bfloat16 at 16,384 tokens, batch 1")
    assert "tensors, with the one that failed" in text
    assert "4.00 GiB were asked for (sdpa attention), and 3.49 GiB were free" in text
    assert max(map(len, text.splitlines())) <= 100


def test_every_recorded_log_is_read_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs = sorted(LOGS.glob("*.log"))
    assert len(logs) > 15
    for log in logs:
        assert main(["read-log", str(log)]) == 0
        assert capsys.readouterr().out.strip()
        result = json_of(capsys, str(log))
        assert {"source", "outcome", "rows", "missing", "advice", "explanation"} <= result.keys()


def test_standard_input_is_read_and_the_missing_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (LOGS / "torch-2.1-capacty.log").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["read-log"]) == 0
    assert "For a prediction, add --model MODEL" in capsys.readouterr().out


def test_json_has_bytes_and_only_what_was_stated(capsys: pytest.CaptureFixture[str]) -> None:
    result = json_of(capsys, str(LOGS / "vllm-0.30-gpu-in-use.log"))
    assert (result["source"], result["outcome"]) == ("vllm", "gpu_in_use")
    assert result["setup"] == {"gpu_memory_utilization": 0.96}
    assert result["gpu_bytes"] == round(23.43 * 2**30)
    assert result["missing"] == ["--model", "--tokens"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/nowhere/start.log"], "cannot be read"),
        (["."], "cannot be read"),
        ([OOM, "--model", "nothing-of-the-kind", "--tokens", "9"], "nothing-of-the-kind"),
        ([OOM, "--model", "qwen3-0.6b", "--tokens", "9", "--dtype", "int3"], "int3"),
        ([OOM, "--model", "qwen3-0.6b", "--tokens", "0"], "0"),
        ([OOM, "--gpu", "A1000-4GB"], "A1000-4GB"),
        ([OOM, "--utilization", "90"], "--utilization 90"),
        ([sys.executable], "binary"),
        ([str(LOGS / "SOURCES.md")], "lines"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read-log", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err
    assert printed.err.startswith("workshop read-log: ")
    assert printed.err.count("\n") == 1


def test_a_hundred_megabytes_are_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "served.log"
    with log.open("wb") as file:
        file.truncate(100 * 2**20)
        file.write(b"text")
    assert main(["read-log", str(log)]) == 2
    assert "head -n" in capsys.readouterr().err


def test_it_imports_no_torch() -> None:
    code = (
        "import sys; from workshop_utils.cli import main; "
        f"main(['read-log', {OOM!r}, '--model', 'qwen3-0.6b', '--tokens', '4096']); "
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("named", "model"),
    [
        ("Qwen/Qwen3-8B", "qwen3-8b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
        ("/models/Qwen3-8B-AWQ", "qwen3-8b"),
        ("RedHatAI/Qwen2.5-7B-Instruct-fp8-dynamic", "qwen2.5-7b"),
        ("/cache/hub/models--google--gemma-3-27b-it/snapshots/0123", "gemma-3-27b"),
        ("unsloth/gpt-oss-20b-BF16", "gpt-oss-20b"),
    ],
)
def test_names_in_logs_are_found_in_the_catalogue(named: str, model: str) -> None:
    architecture = find_named(named)
    assert architecture is not None
    assert architecture.name == model


@pytest.mark.parametrize(
    "named", ["", "someone/quite-another-model", "/dev/zero", "/etc", "a\0b", "x" * 5000, "~"]
)
def test_names_that_are_nowhere_find_nothing_and_read_nothing(named: str) -> None:
    assert find_named(named) is None


def test_a_stem_keeps_what_tells_models_apart() -> None:
    assert stem("Qwen/Qwen3-30B-A3B-Instruct-2507") == stem("Qwen/Qwen3-30B-A3B")
    assert len({stem(name) for name in ("Qwen/Qwen3-8B", "Qwen/Qwen3-4B", "Qwen/Qwen2.5-7B")}) == 3


def test_a_folder_that_the_log_names_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    os.symlink(
        Path(__file__).parents[2] / "src/workshop_utils/models/configs/qwen3-8b.json", folder / "config.json"
    )
    architecture = find_named(str(folder))
    assert architecture is not None
    assert architecture.model_type == "qwen3"


def test_options_have_the_names_of_workshop_estimate_too(capsys: pytest.CaptureFixture[str]) -> None:
    log = str(LOGS / "vllm-0.8.5-qwen3-8b-no-memory.log")
    words = ("--model", "qwen3-8b", "--tokens", "16384", "--gpu", "L4")
    ours = json_of(capsys, log, *words, "--utilization", "0.4", "--vllm-version", "0.26")
    theirs = json_of(capsys, log, *words, "--gpu-memory-utilization", "0.4", "--engine-version", "0.26")
    assert ours == theirs
    assert ours["question"]["gpu_memory_utilization"] == 0.4  # type: ignore[index]
