"""One model on two GPUs, four ways, as a trace: ``python tests/gpu/record_traces.py OUT``.

Records, with a mark where each begins, what the GPUs do while one model decodes on one GPU, is split by
layers with Accelerate, runs as a pipeline of two micro-batches, tensor parallel and as two replicas. Writes
OUT/one_model_four_ways.ndjson, which the panel replays. ``--small`` tries the
script with a small model on a CPU.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from workshop_utils.measure.recording import record

MODEL, SMALL_MODEL = "mistral-small-24b", "smollm2-135m"
HZ = 1.0
LIMIT_SECONDS = 150
WORKSHOP = [sys.executable, "-m", "workshop_utils", "bench"]


def ways(small: bool) -> dict[str, list[str]]:
    """Return what runs, by the words of its mark."""
    model = SMALL_MODEL if small else MODEL
    size = ["--tokens", "16", "--new", "4"] if small else ["--tokens", "512", "--new", "256"]
    rest = ["--repeats", "1", "--device", "cpu"] if small else ["--repeats", "4"]
    run = [*WORKSHOP, "run", "--model", model, "--twin", "--batch", "16", *size, *rest]
    split = [*WORKSHOP, "accelerate", "--model", model, "--twin", "--batch", "16", *size[:2], "--new", "64"]
    heads = ["--kv-heads", "4"] if small else []
    return {
        "one GPU": [*run, "--strategy", "tensor", "--ranks", "1"],
        "layers split by Accelerate": [*split, "--placements", "one" if small else "split", "--repeats", "2"],
        "pipeline, 2 micro-batches": [
            *run, "--strategy", "pipeline", "--ranks", "2", "--micro-batches", "2",
        ],
        "tensor parallel": [*run, "--strategy", "tensor", "--ranks", "2", *heads],
        "two replicas": [*run, "--strategy", "data", "--ranks", "2"],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = False
    words = ["python", "tests/gpu/record_traces.py"]
    with record(arguments.out / "one_model_four_ways.ndjson", HZ, words) as trace:
        for way, command in ways(arguments.small).items():
            trace.mark(way)
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
                )
                said, code = done.stdout + done.stderr[-1000:], done.returncode
            except subprocess.TimeoutExpired:
                said, code = f"took more than {LIMIT_SECONDS} s", 1
            failed |= code != 0
            print(f"{way}: exit code {code}\n{said}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
