"""Every figure of the strategies on this machine's GPUs: ``python tests/gpu/bench_strategies.py OUT``.

Runs ``workshop bench run`` case by case, each on ranks of its own, and adds what it prints to the file
OUT/strategies.jsonl as soon as it is there. A case that fails is a line with its message. ``--plan scale``
are the strategies on all GPUs and on each power of two below, ``--small`` runs the same ways with a small
model, for a try on a CPU; ``--seconds`` begins no case after so long.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

EIGHT, TWENTY_FOUR, SEVENTY = "llama-3.1-8b", "mistral-small-24b", "llama-3.1-70b"
TRICKS = ("graph", "kernels", "fused", "device_sampling")
SHORT = ["--tokens", "128", "--new", "128"]
LONG = ["--tokens", "4096", "--new", "16"]
BATCH = ["--batch", "32", "--tokens", "512", "--new", "64"]
STAGES = 4


def plan(gpus: int) -> Iterator[list[str]]:
    """Yield the options of all cases, the most telling ones first."""
    one, two = ["--strategy", "tensor", "--ranks", "1"], ["--strategy", "tensor", "--ranks", "2"]
    yield [*one, "--model", EIGHT, *SHORT, "--check"]
    yield ["--strategy", "plain", "--model", EIGHT, *SHORT]
    yield [*one, "--model", TWENTY_FOUR, *SHORT]
    yield [*one, "--model", TWENTY_FOUR, *LONG]
    yield [*one, "--model", EIGHT, *BATCH]
    yield from ([*one, "--model", EIGHT, *SHORT, "--without", trick] for trick in TRICKS)
    yield [*one, "--model", EIGHT, *SHORT, "--without", "graph,static_cache"]
    if gpus < 2:
        return
    yield [*two, "--model", EIGHT, *SHORT, "--check"]
    yield [*two, "--model", EIGHT, *SHORT, "--without", "one_shot"]
    yield [*two, "--model", TWENTY_FOUR, *SHORT]
    yield [*two, "--model", TWENTY_FOUR, *LONG]
    yield ["--strategy", "data", "--ranks", "1", "--model", EIGHT, *BATCH]
    yield ["--strategy", "data", "--ranks", "2", "--model", EIGHT, *BATCH]
    half = ["--model", TWENTY_FOUR, "--tokens", "512", "--new", "64"]
    pipeline = ["--strategy", "pipeline", "--ranks", "2", *half]
    yield [*pipeline, "--batch", "16", "--micro-batches", "2"]
    yield [*pipeline, "--batch", "8", "--micro-batches", "1"]
    for batch in ("8", "16"):
        yield [*one, *half, "--batch", batch]
    yield [*two, "--model", SEVENTY, *SHORT]


def scale(gpus: int) -> Iterator[list[str]]:
    """Yield how tensor, data and pipeline parallelism scale, then mixes of them on all GPUs."""
    sizes = [size for size in (1, 2, 4, 8) if size <= gpus]
    one_prompt = [(model, SHORT) for model in (EIGHT, TWENTY_FOUR, SEVENTY)]
    many_prompts = [(model, BATCH) for model in (EIGHT, TWENTY_FOUR, SEVENTY)]
    for model, work in (*one_prompt, *many_prompts):
        # 70B in bfloat16 is 141 GB: from two GPUs on.
        for size in reversed(sizes if model != SEVENTY else sizes[1:]):
            yield ["--strategy", "tensor", "--ranks", str(size), "--model", model, *work]
    for size in reversed(sizes):
        yield ["--strategy", "data", "--ranks", str(size), "--model", EIGHT, *BATCH]
    half = ["--model", TWENTY_FOUR, "--tokens", "512", "--new", "64"]
    for size in [size for size in reversed(sizes) if 1 < size <= STAGES]:
        batch = ["--batch", str(8 * size), "--micro-batches", str(size)]
        yield ["--strategy", "pipeline", "--ranks", str(size), *half, *batch]
    yield ["--strategy", "tensor", "--ranks", "1", *half, "--batch", "8"]
    if gpus >= STAGES:
        whole = ["--ranks", str(gpus), "--model", TWENTY_FOUR]
        for tensor in {gpus // 2, 2}:
            yield ["--strategy", "data", *whole, "--tp", str(tensor), *BATCH]
        stages = gpus // 2
        mixed = ["--tokens", "512", "--new", "64", "--batch", str(8 * stages), "--micro-batches", str(stages)]
        yield ["--strategy", "pipeline", *whole, "--tp", "2", "--pp", str(stages), *mixed]


def small(words: list[str]) -> list[str]:
    """Return the same case with a small model and few tokens, on the CPU."""
    model = words.index("--model") + 1
    kept = [*words[:model], "smollm2-135m", *words[model + 1 :]]
    parts = kept[kept.index("--micro-batches") + 1] if "--micro-batches" in kept else "2"
    for option, value in (("--tokens", "16"), ("--new", "4"), ("--batch", parts)):
        if option in kept:
            kept[kept.index(option) + 1] = value
    return [*kept, "--repeats", "1", "--device", "cpu", "--kv-heads", "4"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plan", choices=("full", "scale"), default="full")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--cases", type=int, nargs="+", metavar="N", help="only these, in this order")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    cases = list((scale if arguments.plan == "scale" else plan)(arguments.gpus))
    for number in arguments.cases or range(len(cases)):
        if time.monotonic() - started > arguments.seconds:
            print(f"no time for case {number} and later")
            return
        case = small(cases[number]) if arguments.small else [*cases[number], "--twin"]
        run(case, arguments.out, number)


def run(case: list[str], out: Path, number: int) -> None:
    """Run one case, and write and print what came of it."""
    before = time.monotonic()
    command = [sys.executable, "-m", "workshop_utils", "bench", "run", *case, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    row: dict[str, object] = {"case": number, "options": case, "seconds": time.monotonic() - before}
    if done.stdout.strip():
        row |= json.loads(done.stdout)
    else:
        row |= {"failed": done.stderr[-1500:]}
    with (out / "strategies.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    keys = (
        "tokens_per_s",
        "ttft_ms",
        "tpot_ms",
        "roofline_share",
        "greedy_tokens_equal",
        "wall_tokens_per_s",
    )
    figures = {key: round(value, 3) for key in keys if isinstance(value := row.get(key), float | bool)}
    print(number, " ".join(case), figures or row.get("failed"), f"{row['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
