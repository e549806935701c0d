"""``workshop bench run``: a strategy on a model, beside plain transformers, predicted beside measured."""

import argparse
import json
import sys
from contextlib import redirect_stdout
from dataclasses import fields, replace
from itertools import product
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.bench_memory_command import numbers, words
from workshop_utils.measure.bench_memory_machine import bench_machine
from workshop_utils.models.catalogue import load_catalogue
from workshop_utils.parallel.bench_case import DTYPES, STRATEGIES, BenchCase, split_of
from workshop_utils.parallel.bench_checks import checked
from workshop_utils.parallel.bench_models import model_with_weights
from workshop_utils.parallel.bench_record import append
from workshop_utils.parallel.bench_result import RankFailedError, RunFigures, run_case
from workshop_utils.parallel.bench_text import comparison_text, figures_text
from workshop_utils.parallel.run_command import sigterm_interrupts
from workshop_utils.parallel.tricks import Tricks

EPILOG = """examples:
  workshop bench run --strategy plain --model smollm2-135m --tokens 64 --new 32
  workshop bench run --strategy tensor --ranks 3 --model smollm2-135m --check
  workshop bench run --strategy pipeline --ranks 2 --micro-batches 2 --batch 8 --model smollm2-135m
  workshop bench run --strategy tensor --ranks 2 --model llama-3.1-8b --twin --json
  workshop bench run --strategy plain,data,pipeline --ranks 2 --model smollm2-135m --batch 1,8 --out
  runs.jsonl
  workshop plot runs.jsonl --out speeds.svg

With several values, all combinations run, one after the other, and a table compares them.

The ranks are started by torchrun, one a GPU, or on the CPU where there is none. Times are medians of
--repeats runs after a warm-up. --json prints:
  {"strategy", "ranks", "layout", "model", "device", "batch", "tokens", "new", "dtype", "ttft_ms", "tpot_ms",
   "tokens_per_s", "peak_bytes": [per rank], "weight_bytes": [per rank], "predicted_peak_bytes": [per rank],
   "bytes_sent_per_token", "roofline_share", "least_tpot_ms", "joules_per_token",
   "max_abs_logit_difference", "relative_logit_difference", "greedy_tokens_equal", "runs"}
tokens_per_s counts the tokens of the decoding of all sequences. roofline_share is the time that reading the
weights and the cache takes at the speed of a large copy on this device, over the measured time of a step;
of experts, those that are chosen where all are equally likely.
relative_logit_difference is the norm of all logits' differences over that of all logits: in 16 bits, rounding
alone makes it 0.01 (SmolLM2) to 0.09 (Llama 3.1 8B's shape with random weights); "away from float32" says how
far plain transformers itself is. The exit code is 1 when a rank or replica failed, the file of --out could
not be written, or --check found other tokens in float32."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop bench run``."""
    parser.epilog = EPILOG
    parser.add_argument("--strategy", type=words, required=True, metavar="A,B", help=", ".join(STRATEGIES))
    parser.add_argument(
        "--model", type=words, required=True, metavar="A,B",
        help="catalogue name, Hugging Face id, folder or config.json",
    )  # fmt: skip
    parser.add_argument(
        "--twin", action="store_true", help="random weights of the model's shape; no download"
    )
    parser.add_argument("--ranks", type=int, default=1, metavar="N", help="GPUs or processes (default 1)")
    parser.add_argument("--tp", type=int, metavar="N", help="tensor parallel size of each replica")
    parser.add_argument("--pp", type=int, metavar="N", help="pipeline stages of each replica")
    parser.add_argument(
        "--micro-batches", type=int, default=1, metavar="N", help="parts of a batch (default 1)"
    )
    parser.add_argument(
        "--batch", type=numbers, default=[1], metavar="N,N", help="prompts a replica (default 1)"
    )
    parser.add_argument(
        "--tokens", type=numbers, default=[128], metavar="N,N", help="tokens of a prompt (default 128)"
    )
    parser.add_argument("--new", type=int, default=128, metavar="K", help="new tokens of each (default 128)")
    parser.add_argument(
        "--dtype", choices=DTYPES, help="default: bfloat16 on GPUs, float32 on a CPU, where it runs faster"
    )
    parser.add_argument(
        "--kv-heads", type=int, metavar="N", help="pad with heads of zeros to so many KV heads"
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="runs measured (default 5)")
    names = ", ".join(field.name for field in fields(Tricks))
    parser.add_argument(
        "--without", type=words, default=(), metavar="A,B", help=f"tricks of GPUs to leave out: {names}"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare logits and tokens with plain transformers"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: the GPUs, where there are some")
    parser.add_argument(
        "--timeout", type=float, default=540, metavar="SECONDS", help="longest silence of a run"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="add each run to this file, one JSON line")
    parser.add_argument("--json", action="store_true", help="print JSON: an object, of several runs a list")


def run(arguments: argparse.Namespace) -> int:
    """Run all cases, one after the other; WorkshopError for bad input before anything starts."""
    cases = cases_of(arguments)
    if arguments.out:
        check_writable(arguments.out)
    done: list[RunFigures] = []
    failed = False
    for case in cases:
        try:
            with sigterm_interrupts(), redirect_stdout(sys.stderr):
                figures = run_case(case, arguments.device, arguments.timeout)
        except RankFailedError as failure:
            print(f"workshop bench run, {case.label}: {failure}", file=sys.stderr)
            failed = True
            continue
        done.append(figures)
        failed |= failed_check(figures)
        failed |= bool(figures.answered and figures.answered.failures)
        if arguments.out:
            failed |= not added(figures, arguments.out)
    if arguments.json:
        rows = [figures.as_json() for figures in done]
        print(json.dumps(rows[0] if rows and len(cases) == 1 else rows, indent=2))
    elif done:
        print(figures_text(done[0]) if len(cases) == 1 else comparison_text(done))
    return int(failed)


def cases_of(arguments: argparse.Namespace) -> list[BenchCase]:
    """Return all combinations of what has several values; WorkshopError where an option has none."""
    choices = {
        "model": f"one or more of {', '.join(entry.name for entry in load_catalogue())}, or a model's folder",
        "strategy": f"one or more of {', '.join(STRATEGIES)}",
        "batch": "whole numbers, for example 1,8",
        "tokens": "whole numbers, for example 128,1024",
    }
    for name, valid in choices.items():
        if not getattr(arguments, name):
            raise WorkshopError(f"--{name} is empty; give {valid}.")
    return [
        case_of(arguments, *chosen) for chosen in product(*(getattr(arguments, name) for name in choices))
    ]


def check_writable(file: Path) -> None:
    """Raise WorkshopError where no run could be added to a file; leaves no new file behind."""
    new = not file.exists()
    try:
        with file.open("a", encoding="utf-8"):
            pass
        if new:
            file.unlink()
    except FileNotFoundError:
        raise WorkshopError(
            f"{file} cannot be written: its folder is missing; make it, or give another --out."
        ) from None
    except OSError as error:
        raise WorkshopError(f"{file} cannot be written: {error.strerror}; give another --out.") from None


def added(figures: RunFigures, file: Path) -> bool:
    """Add a run to a file, and return whether it could be: a full disk must not lose the figures."""
    try:
        append(figures, file)
    except OSError as error:
        print(
            f"workshop bench run, {figures.case.label}: not added to {file} ({error.strerror}); its figures "
            "are printed only.",
            file=sys.stderr,
        )
        return False
    return True


def case_of(arguments: argparse.Namespace, model: str, strategy: str, batch: int, tokens: int) -> BenchCase:
    """Return the case that the options describe, checked against the model and this machine."""
    # Beside other strategies, plain transformers is what they are compared with: on one rank, unpadded.
    compared_with = strategy == "plain" and len(arguments.strategy) > 1
    ranks = 1 if compared_with else arguments.ranks
    given = (None, None) if compared_with else (arguments.tp, arguments.pp)
    tensor, pipeline = split_of(strategy, ranks, *given)
    case = BenchCase(
        strategy=strategy, model=model, ranks=ranks, tensor=tensor,
        pipeline=pipeline, twin=arguments.twin, batch=batch, tokens=tokens,
        new=arguments.new, dtype=arguments.dtype or default_dtype(arguments.device),
        micro_batches=1 if strategy == "plain" else arguments.micro_batches,
        kv_heads=None if compared_with else arguments.kv_heads,
        repeats=arguments.repeats, check=arguments.check,
        without=tuple(arguments.without),
    )  # fmt: skip
    checked(case, arguments.device)
    return replace(case, model=model_with_weights(model, arguments.twin))


def default_dtype(device: str | None) -> str:
    """Return what models run in unless somebody says otherwise."""
    return "bfloat16" if bench_machine(device).device == "cuda" else "float32"


def failed_check(figures: RunFigures) -> bool:
    """Whether a check in float32 found other tokens; in 16 bits, ties fall either way."""
    return figures.case.dtype == "float32" and figures.greedy_tokens_equal is False
