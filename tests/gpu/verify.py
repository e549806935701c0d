"""``make test-gpu``: are this machine's GPUs fit for the workshop, and how fast are they?

The exit code is 0 when every check passed, 1 when one failed and 2 where there is no GPU to verify.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from measuring import (
    allocate_and_free,
    copy_gb_per_s,
    half_precision,
    median_seconds,
    product_error,
    product_tflops,
)
from report import Check, Figure, table, write_report

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu, find_gpu
from workshop_utils.hardware.machine import Machine, find_machine
from workshop_utils.measure.measurement import Measurement
from workshop_utils.measure.provenance import measured_here
from workshop_utils.units import GIB, MIB, format_gib

ROOT = Path(__file__).parents[2]
PRODUCT_SIZE = 8192  # large enough for every GPU of the catalogue to reach its plateau, 0.4 GB in bfloat16
SMALL_SIZE = 512  # for the comparison with float64 on the CPU
COPY_BYTES = GIB  # beyond every cache
REDUCE_BYTES = 256 * MIB
FILL = 0.8
# bfloat16 keeps 8 bits, so rounding a result alone costs up to 2^-9 of it; four times that is a fault.
LARGEST_ERROR = 2**-7
ALL_REDUCE_SECONDS = 300


def main() -> int:
    machine = find_machine()
    usable = [gpu for gpu in machine.gpus if gpu.fault is None]
    if not usable or not torch.cuda.is_available():
        reason = (
            machine.no_gpu_reason
            or f"the driver shows {len(usable)}, but torch {torch.__version__} finds none"
        )
        print(f"make test-gpu: there is no GPU to verify here: {reason}", file=sys.stderr)
        return 2
    checks, figures = check_machine(machine), []
    for index in range(torch.cuda.device_count()):
        print(f"GPU {index}: {torch.cuda.get_device_name(index)} …", flush=True)
        more_checks, more_figures = check_gpu(index)
        checks += more_checks
        figures += more_figures
    if torch.cuda.device_count() > 1:
        print("between the GPUs …", flush=True)
        figures += copies_between(torch.cuda.device_count())
        check, figure = run_all_reduce(torch.cuda.device_count(), REDUCE_BYTES)
        checks.append(check)
        figures += figure
    provenance = provenance_of(machine)
    report = write_report(ROOT / "reports", checks, figures, provenance)
    print(f"\n{table(checks, figures, provenance)}\n\nreport: {report}")
    return 0 if all(check.passed for check in checks) else 1


def check_machine(machine: Machine) -> list[Check]:
    """Return what the driver says of itself and its GPUs, and whether torch sees the same."""
    faults = [f"GPU {gpu.index}: {gpu.fault}" for gpu in machine.gpus if gpu.fault is not None]
    seen, built = torch.cuda.device_count(), torch.version.cuda or "none"
    newest = ".".join(map(str, machine.cuda_version or ()))
    return [
        Check(
            "the driver answers",
            True,
            f"driver {machine.driver_version}, CUDA up to {newest}; torch: {built}",
        ),
        Check("every GPU is usable", not faults, "; ".join(faults) or f"{len(machine.gpus)} GPUs"),
        Check(
            "torch sees the driver's GPUs",
            seen == len(machine.gpus),
            f"torch {seen}, driver {len(machine.gpus)}",
        ),
    ]


def check_gpu(index: int) -> tuple[list[Check], list[Figure]]:
    """Return the checks and speeds of one GPU."""
    device = torch.device("cuda", index)
    known = in_catalogue(torch.cuda.get_device_name(index))
    error = product_error(device, SMALL_SIZE)
    filled, kept = allocate_and_free(device, FILL)
    kind = str(half_precision(device)).removeprefix("torch.")
    checks = [
        Check(
            f"GPU {index} multiplies", error < LARGEST_ERROR, f"largest relative error {error:.1e} in {kind}"
        ),
        Check(
            f"GPU {index} gives memory back",
            kept <= 0,
            f"{format_gib(filled)} filled, {format_gib(kept)} kept",
        ),
    ]
    figures = [
        Figure(
            f"GPU {index} {kind} product {PRODUCT_SIZE}³", product_tflops(device, PRODUCT_SIZE), "TFLOP/s",
            known.half_tflops if known else None,
        ),
        Figure(
            f"GPU {index} memory, read and write", copy_gb_per_s(device, device, COPY_BYTES), "GB/s",
            known.bandwidth_gb_per_s if known else None,
        ),
        Figure(f"GPU {index} from host memory", from_host(device), "GB/s", None),
    ]  # fmt: skip
    torch.cuda.empty_cache()
    return checks, figures


def from_host(device: torch.device) -> float:
    """Return the bandwidth from pinned host memory, 10^9 bytes a second."""
    pinned = torch.ones(COPY_BYTES, dtype=torch.uint8, pin_memory=True)
    here = torch.empty(COPY_BYTES, dtype=torch.uint8, device=device)
    return COPY_BYTES / median_seconds(lambda: here.copy_(pinned, non_blocking=True), device) / 1e9


def in_catalogue(name: str) -> Gpu | None:
    """Return the catalogue's entry; None for a type that it does not have."""
    try:
        return find_gpu(name)
    except WorkshopError:
        return None


def copies_between(count: int) -> list[Figure]:
    """Return the bandwidth from each GPU to the next; says whether they reach each other directly."""
    figures = []
    for index in range(count):
        target = (index + 1) % count
        way = "peer to peer" if torch.cuda.can_device_access_peer(index, target) else "through the host"
        known = in_catalogue(torch.cuda.get_device_name(index))
        # The catalogue sums both directions; a copy uses one.
        link = known.nvlink_gb_per_s / 2 if known and known.nvlink_gb_per_s else None
        speed = copy_gb_per_s(torch.device("cuda", index), torch.device("cuda", target), COPY_BYTES)
        figures.append(Figure(f"GPU {index} to GPU {target}, {way}", speed, "GB/s", link))
    return figures


def run_all_reduce(ranks: int, size_bytes: int) -> tuple[Check, list[Figure]]:
    """Start ``all_reduce.py`` under torchrun; a process apart, as NCCL and notebooks do not mix."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}",
        str(Path(__file__).with_name("all_reduce.py")), str(size_bytes),
    ]  # fmt: skip
    name = f"all-reduce over {ranks} ranks"
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ALL_REDUCE_SECONDS)
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Check(name, False, f"no answer in {ALL_REDUCE_SECONDS} s"), []
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:]
        return Check(name, False, f"exit code {error.returncode}: {' '.join(last)}"), []
    figure = Figure(f"{name}, bus bandwidth", answer["bus_gb_per_s"], "GB/s", None)
    return Check(name, answer["right"] and answer["ranks"] == ranks, "every sum compared on every rank"), [
        figure
    ]


def provenance_of(machine: Machine) -> Measurement:
    """Return command, hardware, versions, date and commit, without values."""
    settings = {"product_size": PRODUCT_SIZE, "copy_bytes": COPY_BYTES, "reduce_bytes": REDUCE_BYTES}
    base = measured_here("GPU verification", {}, "make test-gpu", settings)
    cuda = {"CUDA": str(torch.version.cuda), "driver": str(machine.driver_version)}
    return replace(base, versions={**base.versions, **cuda})


if __name__ == "__main__":
    sys.exit(main())
