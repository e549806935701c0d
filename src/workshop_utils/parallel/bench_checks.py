"""What a case of ``workshop bench`` cannot be: told before any rank is started."""

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.machine import Machine, find_machine
from workshop_utils.measure.bench_memory_machine import bench_machine, visible
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.bench_predicted import predicted_peaks
from workshop_utils.parallel.layout import check
from workshop_utils.parallel.padded_heads import with_kv_heads, with_more_heads
from workshop_utils.parallel.spec import FAMILIES, read_spec
from workshop_utils.units import format_gib


def checked(case: BenchCase, device: str | None) -> BenchCase:
    """Return the case; WorkshopError where the model, or the machine's ``device``, does not allow it."""
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
