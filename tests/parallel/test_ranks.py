"""Every strategy and combination on real gloo ranks, against transformers: logits, and 64 greedy tokens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import FAMILIES, write_config

RANKS = Path(__file__).with_name("ranks.py")
LOGITS = 1e-4
# FAMILY:PIPELINE:TENSOR:MICRO_BATCHES by number of ranks. SmolLM2's three groups of heads take three ranks.
CASES = {
    2: [
        *(f"{family}:1:2:1" for family in FAMILIES if family != "smollm2"),
        *(f"{family}:2:1:2" for family in ("llama", "smollm2", "gemma3_text", "qwen3_moe")),
        "llama:2:1:1",
    ],
    3: ["smollm2:1:3:1", "llama:3:1:3", "phi3:3:1:2"],
    4: [
        "llama:1:4:1", "few_kv_heads:1:4:1", "mixtral:1:4:1", "llama:4:1:4", "smollm2:4:1:2", "qwen3:2:2:2",
        "gemma3_text:2:2:4",
    ],
}  # fmt: skip


@pytest.mark.parametrize("ranks", CASES)
def test_split_models_say_what_transformers_says(ranks: int, tmp_path: Path) -> None:
    for family in FAMILIES:
        write_config(tmp_path, family)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}",
        str(RANKS), str(tmp_path), *CASES[ranks],
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert set(results) == set(CASES[ranks])
    for case, found in results.items():
        assert found["difference"] <= LOGITS, case
        assert found["equal"], case
        assert found["different_tokens"] > 3, f"{case}: a model that repeats itself proves little"
