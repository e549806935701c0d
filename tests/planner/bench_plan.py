"""How long ``workshop plan`` takes from a cold start: ``python tests/planner/bench_plan.py``."""

import resource
import statistics
import subprocess
import sys
import time

CASES = (
    ("gemma-3-27b", "uva", "transformers"),
    ("gemma-3-27b", "uva", "vllm"),
    ("llama-3.1-8b", "example", "transformers"),
    ("qwen3-235b-a22b", "uva", "vllm"),
    ("deepseek-v3", "uva", "vllm"),
)
RUNS = 9


def seconds(model: str, site: str, engine: str) -> tuple[float, float]:
    """Return wall and CPU seconds of one run."""
    words = ["plan", model, "--tokens", "32768", "--site", site, "--engine", engine, "--no-queue", "--json"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "workshop_utils", *words], check=False, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


if __name__ == "__main__":
    print(f"{'model':18} {'site':8} {'engine':13} wall s  CPU s   (medians of {RUNS} runs)")
    for case in CASES:
        runs = [seconds(*case) for _ in range(RUNS)]
        wall, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{case[0]:18} {case[1]:8} {case[2]:13} {wall:6.2f} {cpu:6.2f}")
