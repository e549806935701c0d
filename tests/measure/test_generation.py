"""The real model's weights and cache are what was predicted: the promise of notebook 01, within 10 %."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
from workshop_utils.lessons.small_model_run import eight_prompts, run_measurement
from workshop_utils.measure.generation import device_here, generate, touch, warm_up
from workshop_utils.measure.watch import watch_memory
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture

folder = sys.argv[1]
warm_up()
tokenizer = AutoTokenizer.from_pretrained(folder)
with watch_memory() as loading:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="bfloat16").to(device_here())
    touch(model)
inputs = eight_prompts(tokenizer, tokens=480)
with watch_memory() as generating:
    output = generate(model, inputs, 4)
assert output.sequences.shape == (8, 484), output.sequences.shape
predicted = estimate(find_architecture(folder), tokens=483, batch=8)
measured = run_measurement(loading, generating)
for name, expected in (("weights", predicted.weights_bytes), ("kv_cache", predicted.kv_cache_bytes)):
    print(name, measured.bytes_of(name) / expected)
"""


@pytest.mark.slow
def test_weights_and_cache_are_measured_within_ten_percent(small_model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(small_model)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ratios = {name: float(ratio) for name, ratio in (line.split() for line in done.stdout.splitlines())}
    assert ratios.keys() == {"weights", "kv_cache"}
    for name, ratio in ratios.items():
        assert 0.9 < ratio < 1.1, (name, ratio)
