"""``workshop bench memory``: run every case in a process of its own, and set predicted beside measured."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.bench_memory_case import (
    ATTENTION,
    CACHES,
    NEW_TOKENS,
    MemoryCase,
    combinations,
    default_cases,
    read_cases,
)
from workshop_utils.measure.bench_memory_children import CaseResult, run_cases
from workshop_utils.measure.bench_memory_machine import BenchMachine, bench_machine
from workshop_utils.measure.bench_memory_report import Comparison, predict, summary
from workshop_utils.measure.bench_memory_text import plan_text, results_text
from workshop_utils.measure.measurement import Measurement
from workshop_utils.measure.provenance import measured_here, version_of
from workshop_utils.models.find import find_architecture

COMMAND = "workshop bench memory"
# Their allocation traces, or of the last three their peaks, were read beside the code of transformers while
# the rules in memory/tensors were written.
READ_MODELS = frozenset(
    {
        "llama-3.1-8b", "qwen3-8b", "gemma-3-4b", "phi-4", "olmo-2-7b", "mixtral-8x7b", "qwen3-30b-a3b",
        "gpt-oss-20b", "gemma-4-26b-a4b", "deepseek-v2-lite", "qwen2.5-7b", "gemma-2-9b", "granite-3.1-8b",
    }
)  # fmt: skip
EPILOG = f"""examples:
  workshop bench memory                          the set that suits this machine's GPU, or its CPU
  workshop bench memory --list                   that set with its predictions; nothing is run
  workshop bench memory --models llama-3.1-8b,gemma-3-4b --tokens 4096,32768 --batch 1,8 --out new.jsonl
  workshop bench memory --cases cases.jsonl      lines like {{"model": "qwen3-8b", "tokens": 4096}}

Each case is a shape twin (true architecture, random bfloat16 weights, nothing downloaded) in a fresh process:
generate() of {NEW_TOKENS} tokens after prompts of --tokens tokens. A case that runs out of memory, fails or
takes longer than --limit is a result like any other. On a CPU, resident memory stands for the GPU's.

--out FILE adds a measurement for each case and GPU as a JSON line, as soon as it is there:
  {{"what", "values": {{NAME: {{"value", "unit"}}}}, "command", "hardware", "versions", "date", "commit",
   "settings": {{"model", "tokens", "batch", "attention", "cache", "pipeline_parallel", "new_tokens", "dtype",
   "rank", "outcome", "message"}}}}
NAME: weights, loaded, prefill_peak, decode_peak, peak_allocated (the higher), peak_reserved, process (what
NVML shows beyond the idle GPU), context (process less peak_reserved).
outcome: measured, out_of_memory (its peaks are lower bounds), failed, timed_out.
--json prints {{"hardware", "cases": [{{"case", "outcome", "message", "seconds", "predicted", "measured",
  "peak_error", "process_error", "memory_call"}}], "summary": {{"fitted", "held out"}}}}; with --list
  {{"hardware", "cases": [{{"case", "predicted"}}]}}. Errors are (predicted - measured) / measured.
The exit code is 1 when a case failed or timed out, else 0."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop bench memory``."""
    parser.epilog = EPILOG
    parser.add_argument("--models", type=words, metavar="A,B", help="names, folders or config.json files")
    parser.add_argument("--tokens", type=numbers, metavar="N,N", help="prompt lengths (default 4096)")
    parser.add_argument("--batch", type=numbers, metavar="N,N", help="sequences at a time (default 1)")
    parser.add_argument(
        "--attention", type=words, metavar="A,B", help=f"{', '.join(ATTENTION)} (default sdpa)"
    )
    parser.add_argument("--cache", type=words, metavar="A,B", help=f"{', '.join(CACHES)} (default dynamic)")
    parser.add_argument(
        "--pp", type=numbers, metavar="N,N", help="pipeline parallel sizes, by Accelerate (default 1)"
    )
    parser.add_argument("--cases", type=Path, metavar="FILE", help="the cases, one JSON object a line")
    parser.add_argument("--out", type=Path, metavar="FILE", help="add the measurements to this file")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: the GPUs, where there are some")
    parser.add_argument(
        "--limit", type=float, default=180, metavar="SECONDS", help="longest time of a case (default 180)"
    )
    parser.add_argument(
        "--list", action="store_true", help="print the plan with its predictions, run nothing"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, sizes in bytes")


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str) -> list[int]:
    """Return whole numbers; argparse turns the error into its message."""
    try:
        return [int(word) for word in words(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of whole numbers; write for example 4096,32768"
        ) from None


def run(arguments: argparse.Namespace) -> int:
    """Measure, or list, the chosen cases; WorkshopError for bad input before anything runs."""
    if not arguments.limit > 0:
        raise WorkshopError(f"--limit {arguments.limit:g} is no time; give seconds, for example 180.")
    machine = bench_machine(arguments.device)
    cases = chosen_cases(arguments, machine)
    predictions = [predict(case, machine.gpu, machine.memory_bytes) for case in cases]
    if arguments.list:
        plan = [{"case": one.case.as_json(), "predicted": one.as_json()} for one in predictions]
        if arguments.json:
            print_json({"hardware": machine.hardware, "cases": plan})
        else:
            print(plan_text(predictions, machine.hardware))
        return 0
    with arguments.out.open("a", encoding="utf-8") if arguments.out else nullcontext() as out:
        results = measure(cases, machine, arguments.limit, out)
    compared = [Comparison(*pair) for pair in zip(predictions, results, strict=True)]
    fitted = fitted_models()
    if arguments.json:
        rows = [one.as_json() for one in compared]
        print_json({"hardware": machine.hardware, "cases": rows, "summary": summary(compared, fitted)})
    else:
        print(results_text(compared, fitted, machine.hardware))
    return int(any(result.outcome in {"failed", "timed_out"} for result in results))


def chosen_cases(arguments: argparse.Namespace, machine: BenchMachine) -> tuple[MemoryCase, ...]:
    """Return the cases of the file, of the options, or of the machine; WorkshopError for an unknown model."""
    lists = {
        "tokens": arguments.tokens, "batch": arguments.batch, "attention": arguments.attention,
        "cache": arguments.cache, "pipeline_parallel": arguments.pp,
    }  # fmt: skip
    given = {name: values for name, values in lists.items() if values}
    if arguments.cases and (arguments.models or given):
        raise WorkshopError("--cases says it all; leave out --models, --tokens and the like, or --cases.")
    if arguments.cases:
        cases = read_cases(arguments.cases)
    elif arguments.models:
        cases = combinations({"model": arguments.models, "tokens": [4096], **given})
    elif given:
        raise WorkshopError(f"{', '.join(given)} of which model? Add --models, for example qwen3-8b.")
    else:
        cases = default_cases(machine.memory_bytes, machine.gpus)
    for model in dict.fromkeys(case.model for case in cases):
        find_architecture(model)
    most = max(case.pipeline_parallel for case in cases)
    if most > max(machine.gpus, 1):
        raise WorkshopError(
            f"pipeline parallel size {most} needs as many GPUs and {machine.hardware} is what there is; "
            f"give at most {max(machine.gpus, 1)}."
        )
    return cases


def measure(
    cases: Sequence[MemoryCase], machine: BenchMachine, limit_seconds: float, out: IO[str] | None
) -> list[CaseResult]:
    """Run all cases with a progress bar; each result is on the disk before the next case starts."""
    from tqdm.auto import tqdm

    results = []
    with tqdm(total=len(cases), desc="cases", unit="case", file=sys.stderr) as bar:
        bar.set_postfix_str(cases[0].label)
        for result in run_cases(cases, machine.device, limit_seconds):
            results.append(result)
            if out:
                write_lines(out, measurements(result, machine))
            bar.update()
            if len(results) < len(cases):
                bar.set_postfix_str(cases[len(results)].label)
    return results


def measurements(result: CaseResult, machine: BenchMachine) -> list[Measurement]:
    """Return one measurement a device; a case of which nothing is known has one without values."""
    libraries = {"accelerate": version_of("accelerate")}
    driver = {"NVIDIA driver": machine.driver} if machine.driver else {}
    taken = []
    for rank, values in enumerate(result.values or ({},)):
        settings = {
            **result.case.as_json(), "new_tokens": NEW_TOKENS, "dtype": "bfloat16", "rank": rank,
            "outcome": result.outcome, "message": result.message,
        }  # fmt: skip
        name = f"memory of {result.case.label}"
        one = measured_here(name, values, COMMAND, settings, machine.hardware)
        taken.append(replace(one, versions={**one.versions, **libraries, **driver}))
    return taken


def write_lines(out: IO[str], taken: Iterable[Measurement]) -> None:
    for one in taken:
        row = {name: value for name, value in asdict(one).items() if name != "recorded"}
        out.write(json.dumps(row) + "\n")
    out.flush()


def fitted_models() -> frozenset[str]:
    """Return the models whose runs were read while the rules of the estimate were written.

    No constant of the estimate was fitted on any of them; but a rule that was written beside a trace is no
    proof on that model, so that the summary shows all others apart.
    """
    return READ_MODELS


def print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2))
