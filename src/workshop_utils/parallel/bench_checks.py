"""What a case of ``workshop bench`` cannot be: told before any rank is started."""

import os

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.machine import Machine, find_machine
from workshop_utils.measure.bench_memory_machine import bench_machine, visible
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.monitor.host import Host
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.bench_predicted import VALUE_BYTES, predicted_peaks
from workshop_utils.parallel.layout import check
from workshop_utils.parallel.padded_heads import with_kv_heads, with_more_heads
from workshop_utils.parallel.spec import FAMILIES, read_spec
from workshop_utils.units import format_gib


def checked(case: BenchCase, device: str | None) -> BenchCase:
    """Return the case; WorkshopError where the model, or the machine's ``device``, does not allow it."""
    if case.new < 2:
        raise WorkshopError(
            f"--new {case.new} has no step to time; give --new 2 or more: the first token is the prefill's."
        )
    if case.strategy == "plain" and case.kv_heads is not None:
        raise WorkshopError("--kv-heads pads our own decoder; choose --strategy tensor --ranks 1.")
    machine = bench_machine(device)
    architecture = find_architecture(case.model)
    most = architecture.max_positions
    if most and case.tokens + case.new > most:
        raise WorkshopError(
            f"{case.tokens} + {case.new} tokens are more than the {most:,} positions of {architecture.name}; "
            f"give at most {most} together."
        )
    if case.strategy != "plain" and architecture.model_type not in FAMILIES:
        raise WorkshopError(
            f"{architecture.name} is a {architecture.model_type} model, which these strategies do not split; "
            f"choose one of {', '.join(FAMILIES)}, or --strategy plain."
        )
    on_gpus = machine.device == "cuda"
    if case.strategy != "plain" and case.kv_heads is not None:
        architecture = with_more_heads(architecture, with_kv_heads(read_spec(case.model), case.kv_heads))
    check(case.layout, architecture, machine.gpus if on_gpus else None)
    if on_gpus:
        check_memory(case, find_machine())
    else:
        check_host_memory(case, architecture, free_host_bytes())
    return case


def check_memory(case: BenchCase, machine: Machine) -> None:
    """Raise WorkshopError where a rank is predicted to need more than its GPU has."""
    predicted = predicted_peaks(case) or ()
    gpus = visible([gpu for gpu in machine.gpus if gpu.fault is None])
    for rank, gpu in enumerate(gpus[: case.ranks]):
        needed = predicted[rank % len(predicted)] if predicted else 0
        if gpu.memory_total_bytes is not None and needed > gpu.memory_total_bytes:
            raise WorkshopError(
                f"rank {rank} is predicted to need {format_gib(needed)} and its GPU {gpu.index} ({gpu.name}) "
                f"has {format_gib(gpu.memory_total_bytes)}; take more ranks, a shorter text or a smaller "
                "batch, or leave that GPU out with CUDA_VISIBLE_DEVICES."
            )


def check_host_memory(case: BenchCase, architecture: Architecture, free: int | None) -> None:
    """Raise WorkshopError where all ranks together need more than the ``free`` bytes of the host.

    The CPU's ranks share one memory, and a job that overfills it is ended, or slows down a whole login node.
    ``architecture``: what is run, with padded heads. None free: it is not known, and nothing is refused.
    """
    predicted = predicted_peaks(case)
    if predicted:
        what, needed = "to need", sum(predicted) * case.layout.data
    else:
        weights = count_parameters(architecture).total * VALUE_BYTES[case.dtype]
        what, needed = "to hold weights of", weights * case.layout.data
    if free is not None and needed > free:
        ranks = "one rank on the CPU is" if case.ranks == 1 else f"{case.ranks} ranks on the CPU are"
        raise WorkshopError(
            f"{ranks} predicted {what} {format_gib(needed)} and this job may use {format_gib(free)} more of "
            "the memory; take a smaller model, a shorter text or a smaller batch, or run in a job with more."
        )


def free_host_bytes() -> int | None:
    """Return the bytes that this job may still use: of its limit and of the machine; None where not known."""
    host = Host(environment=os.environ).read().data
    if host is None:
        return None
    free = host.machine_memory_total_bytes - host.machine_memory_used_bytes
    if host.memory_used_bytes is None:
        return min(free, host.memory_limit_bytes)
    return min(free, host.memory_limit_bytes - host.memory_used_bytes)
