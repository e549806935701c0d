"""``workshop bench accelerate``: one model on several device maps, predicted beside measured."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.bench_memory_command import words
from workshop_utils.measure.bench_memory_machine import bench_machine
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.bench_case import DTYPES, BenchCase
from workshop_utils.parallel.bench_models import model_with_weights
from workshop_utils.parallel.bench_result import RankFailedError, RunFigures
from workshop_utils.parallel.bench_text import comparison_text as own_text
from workshop_utils.parallel.big_model.bench_accelerate_case import (
    CHOICES,
    ONE,
    AccelerateCase,
    capped,
    default_placements,
    place,
    too_large,
)
from workshop_utils.parallel.big_model.bench_accelerate_result import (
    AccelerateFigures,
    Prediction,
    measurement_of,
    predict,
    run_case,
)
from workshop_utils.parallel.big_model.bench_accelerate_text import comparison_text
from workshop_utils.parallel.big_model.devices import DISK, DeviceSet, devices_here
from workshop_utils.parallel.big_model.offload_folder import check_offload_folder
from workshop_utils.parallel.big_model.own_strategies import own_cases, run_own
from workshop_utils.parallel.run_command import sigterm_interrupts
from workshop_utils.storage import cache_folder

EPILOG = f"""examples:
  workshop bench accelerate --model smollm2-135m --tokens 32 --new 16 --dtype float32 --check
  workshop bench accelerate --model llama-3.1-8b --twin --placements one,split,cpu50,disk25
  workshop bench accelerate --model llama-3.1-70b --twin --placements fit --gpus 2 --out runs.jsonl
  workshop bench accelerate --model llama-3.1-8b --twin --placements fit --cap-gib 12,12
  workshop bench accelerate --model llama-3.1-8b --twin --placements one,split --beside tensor,pipeline

Placements: {CHOICES}; "split" is
Accelerate's own balanced map over all GPUs, "fit" the workshop's, which keeps room for cache and activations.
Without --placements all run that this machine has. Each has a process of its own, and times are medians of
--repeats runs after a warm-up. --beside runs this workshop's strategies on the same GPUs (without one, on two
ranks of the CPU), and --json then has what `workshop bench run` prints as well. --cap-gib acts as if the GPUs
were smaller. --cold-load empties the page cache of a checkpoint's files before it is loaded. --json prints an
object, of several placements a list:
  {{"placement", "model", "device", "layers": {{device: count}}, "hops", "batch", "tokens", "new", "dtype",
   "ttft_ms", "tpot_ms", "tokens_per_s", "peak_bytes": {{device: bytes}},
   "predicted_peak_bytes": {{device: bytes}}, "predicted_tpot_ms", "predicted_tpot_certainty",
   "predicted_tpot_parts", "moved_bytes_per_token", "disk_bytes_per_token", "load_seconds", "load",
   "greedy_tokens_equal", "run"}}
peak_bytes of a GPU is torch.cuda.max_memory_allocated, of the host ("cpu") the process's resident memory less
what it had before the model. disk_bytes_per_token is what the kernel fetched from a disk. The exit code is 1
when a run failed, or --check found other tokens than those of the run on one device in float32."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop bench accelerate``."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--model", required=True, help="catalogue name, Hugging Face id, folder or config.json")
    add("--twin", action="store_true", help="random weights of the model's shape; no download")
    add("--placements", type=words, default=(), metavar="A,B", help="default: all of this machine")
    add("--beside", type=words, default=(), metavar="A,B", help="our own: tensor, pipeline (default: none)")
    add("--gpus", type=int, metavar="N", help="use the first N GPUs (default: all)")
    add("--cap-gib", type=gibibytes, default=(), metavar="G,G", help="use at most so much of each GPU")
    add("--batch", type=int, default=1, metavar="B", help="prompts (default 1)")
    add("--tokens", type=int, default=128, metavar="T", help="tokens of a prompt (default 128)")
    add("--new", type=int, default=32, metavar="K", help="new tokens of each (default 32)")
    add("--dtype", choices=DTYPES, default="bfloat16", help="default bfloat16")
    add("--repeats", type=int, default=3, metavar="R", help="runs measured (default 3)")
    add("--check", action="store_true", help="compare greedy tokens with those of one device")
    add("--cold-load", action="store_true", help="time loading with an empty page cache")
    add("--offload-folder", type=Path, metavar="DIR", help="default: one below the workshop's cache")
    add("--device", choices=("cuda", "cpu"), help="default: the GPUs, where there are some")
    add("--timeout", type=seconds, default=540, metavar="SECONDS", help="longest silence of a run")
    add("--out", type=Path, metavar="FILE", help="add each run to this file, one JSON line")
    add("--json", action="store_true", help="print JSON")


def gibibytes(text: str) -> tuple[float, ...]:
    """Read ``12,12.5``."""
    return tuple(float(word) for word in text.split(","))


def seconds(text: str) -> float:
    """Read a time that can be waited for; argparse turns the error into its message."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time to wait; give seconds, for example 540")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Run all placements, one after the other; WorkshopError for bad input before anything starts."""
    devices = usable_devices(arguments)
    work = work_of(arguments)
    chosen = arguments.placements or default_placements(len(devices.gpus))
    if arguments.check and ONE not in chosen:
        chosen = (ONE, *chosen)
    planned = [planned_case(name, devices, work, arguments) for name in chosen]
    own = own_cases(arguments.beside, work, len(devices.gpus), arguments.device)
    # The reference first: the others are compared with it.
    planned.sort(key=lambda pair: pair[0].placement != ONE)
    done, failed = run_all(planned, arguments)
    ours, failed_too = run_own(own, arguments.device, arguments.timeout, arguments.out)
    if arguments.json:
        rows = [figures.as_json() for figures in done] + [figures.as_json() for figures in ours]
        print(json.dumps(rows[0] if rows and len(planned) + len(own) == 1 else rows, indent=2))
    else:
        print(all_tables(done, ours))
    return int(failed or failed_too)


def all_tables(done: Sequence[AccelerateFigures], ours: Sequence[RunFigures]) -> str:
    """Return what ran, in words; either may be nothing, where it was not asked for or failed."""
    tables = [comparison_text(done)] if done else []
    if ours:
        tables.append(f"This workshop's strategies: {own_text(ours)}")
    return "\n\n".join(tables)


def run_all(
    planned: Sequence[tuple[AccelerateCase, Prediction]], arguments: argparse.Namespace
) -> tuple[list[AccelerateFigures], bool]:
    """Return the figures of the runs that ended well, and whether one failed or said something else."""
    done: list[AccelerateFigures] = []
    failed = False
    for case, predicted in planned:
        try:
            with sigterm_interrupts(), redirect_stdout(sys.stderr):
                figures = run_case(case, predicted, arguments.device, arguments.timeout)
        except RankFailedError as failure:
            print(f"workshop bench accelerate, {case.label}: {failure}", file=sys.stderr)
            failed = True
            continue
        if arguments.check:
            first = done[0] if done else figures
            reference = first.run["tokens"] if first.case.placement == ONE else None
            figures = replace(figures, reference=reference)
        done.append(figures)
        failed |= case.work.dtype == "float32" and figures.greedy_tokens_equal is False
        if arguments.out:
            append(figures, arguments.out)
    return done, failed


def usable_devices(arguments: argparse.Namespace) -> DeviceSet:
    """Return the devices that the options leave; WorkshopError for GPUs that are not here."""
    machine = bench_machine(arguments.device)
    devices = devices_here(arguments.offload_folder)
    gpus = devices.gpus if machine.device == "cuda" else ()
    if arguments.gpus is not None and not 1 <= arguments.gpus <= len(gpus):
        here = f"give 1 to {len(gpus)}" if gpus else "leave it out, there is none to use"
        raise WorkshopError(f"--gpus {arguments.gpus} is out of range; {here}.")
    devices = devices.only(gpus[: arguments.gpus])
    return capped(devices, arguments.cap_gib) if arguments.cap_gib else devices


def work_of(arguments: argparse.Namespace) -> BenchCase:
    """Return model and text, checked against one another."""
    model = model_with_weights(arguments.model, arguments.twin)
    if arguments.cold_load and arguments.twin:
        raise WorkshopError(
            "--cold-load times the files of a checkpoint, and a twin has none; leave out one."
        )
    work = BenchCase(
        strategy="plain", model=model, twin=arguments.twin, batch=arguments.batch, tokens=arguments.tokens,
        new=arguments.new, dtype=arguments.dtype, repeats=arguments.repeats, check=arguments.check,
    )  # fmt: skip
    architecture = find_architecture(model)
    most = architecture.max_positions
    if most and work.tokens + work.new > most:
        raise WorkshopError(
            f"{work.tokens} + {work.new} tokens are more than the {most:,} positions of {architecture.name}; "
            f"give at most {most} together."
        )
    return work


def planned_case(
    name: str, devices: DeviceSet, work: BenchCase, arguments: argparse.Namespace
) -> tuple[AccelerateCase, Prediction]:
    """Return a placement's case and what is expected of it; WorkshopError where it will not hold."""
    given, placement = place(name, devices, work)
    limits = [(int(gpu.key), gpu.model_bytes) for gpu in given.gpus] if arguments.cap_gib else []
    folder = (arguments.offload_folder or cache_folder() / "offload").absolute()
    needs_folder = bool(placement.bytes_by_device[DISK])
    if needs_folder:
        check_offload_folder(folder)
    case = AccelerateCase(
        name, dict(placement.modules), work, tuple(limits),
        offload_folder=str(folder) if needs_folder else None, cold_load=arguments.cold_load,
    )  # fmt: skip
    predicted = predict(case, given, placement)
    for peak in predicted.peaks:
        if not peak.fits:
            raise too_large(case, peak)
    return case, predicted


def append(figures: AccelerateFigures, file: Path) -> None:
    """Add a run to a file, as one line of JSON."""
    row = {name: value for name, value in asdict(measurement_of(figures)).items() if name != "recorded"}
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")
