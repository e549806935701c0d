"""``workshop bench run`` as a reader types it: real ranks, the small real model, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    found = figures("--strategy", strategy, *words, *SMALL, "--dtype", "float32", "--check")
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
def test_a_table_for_people(tmp_path: Path) -> None:
    done = bench("--strategy", "plain", *SMALL)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "time to first token" in done.stdout
    assert "share of the roofline" in done.stdout


REFUSED = [
    (["--strategy", "tensor", "--ranks", "2", *SMALL], r"tensor parallel size 2 does not fit.*choose 1, 3"),
    (["--strategy", "plain", "--ranks", "2", *SMALL], r"plain transformers runs on one rank, not 2"),
    (["--strategy", "pipeline", "--ranks", "31", *SMALL], r"31 is more than the 30 layers"),
    (["--strategy", "tensor", "--ranks", "3", "--tp", "2", *SMALL], r"3 ranks are no multiple"),
    (["--strategy", "plain", *SMALL, "--tokens", "9000"], r"9000 \+ 8 tokens are more than the 8,192"),
    (["--strategy", "plain", *SMALL, "--batch", "0"], r"batch 0 is out of range"),
    (["--strategy", "plain", "--model", "llama-3.1-8b"], r"no weights of llama-3.1-8b are here; add --twin"),
    (["--strategy", "plain", "--model", "llama-9"], r"no model 'llama-9'"),
    (["--strategy", "tensor", "--ranks", "2", "--twin", "--model", "gpt-oss-20b"], r"gpt_oss.*choose"),
    (["--strategy", "sideways", *SMALL], r"invalid choice: 'sideways'"),
    (["--strategy", "tensor", *SMALL, "--without", "graph,luck"], r"no trick 'luck'.*choices: graph"),
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


def test_a_half_written_checkpoint_is_named(tmp_path: Path) -> None:
    from tiny import write_config

    folder = write_config(tmp_path, "llama")
    (folder / "model.safetensors").write_bytes(b'\x10\x00\x00\x00\x00\x00\x00\x00{"a": ')
    done = bench("--strategy", "tensor", "--ranks", "2", "--model", str(folder), "--device", "cpu")
    assert done.returncode == 1
    assert "half-written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
