"""What the process of one run does: load the model as its device map says, run it, hand back what it saw.

Started by torchrun as a single rank that sees all GPUs: ``python bench_accelerate_worker.py CASE``.
"""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from workshop_utils.measure.generation import warm_up
from workshop_utils.measure.process_memory import CpuMemory, GpuMemory, MemoryMeter
from workshop_utils.measure.provenance import hardware_name
from workshop_utils.models.quiet import quiet_torchao
from workshop_utils.parallel.bench_case import random_prompts
from workshop_utils.parallel.big_model.bench_accelerate_case import AccelerateCase, case_from_json
from workshop_utils.parallel.big_model.devices import HOST, Key
from workshop_utils.parallel.big_model.dispatched_twin import dispatch_twin
from workshop_utils.parallel.big_model.load import load_checkpoint, moved_bytes, release
from workshop_utils.parallel.big_model.load_time import disk_bytes, timed_load
from workshop_utils.parallel.launch import notes
from workshop_utils.parallel.plain import generate_plain

WARM_UP_TOKENS = 2


def main(case: AccelerateCase) -> None:
    """Run one case; the offload folder is empty again at the end."""
    notes.say("loading the weights")
    if case.predicted_bytes:
        notes.memory(predicted_bytes=case.predicted_bytes)
    gpus = sorted({device for device in case.modules.values() if isinstance(device, int)})
    for gpu, limit in case.limits_bytes:
        total = torch.cuda.get_device_properties(gpu).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), gpu)
    meters: dict[Key, MemoryMeter] = {gpu: GpuMemory(gpu) for gpu in gpus} | {HOST: CpuMemory()}
    ready(bool(gpus))
    meters[HOST].settle()
    before = meters[HOST].read().held_bytes
    started = time.perf_counter()
    model, load = loaded(case)
    found: dict[str, Any] = {"load_seconds": time.perf_counter() - started, "load": load}
    try:
        found |= timed(case, model, meters)
        found["peak_bytes"][HOST] = max(0, found["peak_bytes"][HOST] - before)
    finally:
        release(model)
    notes.hand_back(found | {"hardware": hardware_name(), "host_bytes_before": before})


def ready(on_gpus: bool) -> None:
    """Load the libraries, and for GPUs what they keep in host memory: none of it counts as the model."""
    quiet_torchao()
    import accelerate  # noqa: F401
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: F401

    if on_gpus:
        warm_up()


def loaded(case: AccelerateCase) -> tuple[Any, dict[str, Any] | None]:
    """Return the model, and the times of a cold load."""
    work = case.work
    folder = Path(case.offload_folder) if case.offload_folder else None
    if work.twin:
        return dispatch_twin(work.model, case.modules, dtype=work.dtype, offload_folder=folder), None
    source = Path(work.model)
    if not case.cold_load:
        return load_checkpoint(source, case.modules, dtype=work.dtype, offload_folder=folder), None
    model, load = timed_load(source, case.modules, dtype=work.dtype, offload_folder=folder)
    return model, {**asdict(load), "load_gb_per_s": load.load_gb_per_s, "read_gb_per_s": load.read_gb_per_s}


def timed(case: AccelerateCase, model: Any, meters: dict[Key, MemoryMeter]) -> dict[str, Any]:
    """Return the times and tokens of every repeat and the highest memory of all, after a warm-up."""
    work = case.work
    prompts = random_prompts(work, work.batch)
    notes.say("warming up")
    generate_plain(model, prompts, min(work.new, WARM_UP_TOKENS))
    for meter in meters.values():
        meter.settle()
        meter.reset_peak()
    notes.say("measuring")
    runs, read = [], disk_bytes()
    for repeat in range(work.repeats):

        def progress(done: int, before: int = repeat * work.new) -> None:
            notes.progress(before + done, work.repeats * work.new)

        runs.append(generate_plain(model, prompts, work.new, progress))
    after = disk_bytes()
    peaks = {key: meter.read() for key, meter in meters.items()}
    forwards = work.new * work.repeats
    return {
        "ttft_ms": [1000 * run.ttft_seconds for run in runs],
        "tpot_ms": [1000 * run.decode_seconds / max(1, work.new - 1) for run in runs],
        "tokens": runs[-1].tokens,
        "peak_bytes": {key: reading.peak_bytes or reading.held_bytes for key, reading in peaks.items()},
        "reserved_bytes": {k: reading.reserved_bytes for k, reading in peaks.items() if k != HOST},
        "moved_bytes": moved_bytes(model),
        "disk_bytes_per_token": None if read is None or after is None else (after - read) / forwards,
    }


if __name__ == "__main__":
    main(case_from_json(sys.argv[1]))
