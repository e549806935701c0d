"""Our own strategies beside Accelerate's maps: the same model and text, on the same devices."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.parallel.bench_case import BenchCase, split_of
from workshop_utils.parallel.bench_checks import checked
from workshop_utils.parallel.bench_record import append
from workshop_utils.parallel.bench_result import RankFailedError, RunFigures, run_case
from workshop_utils.parallel.run_command import sigterm_interrupts

STRATEGIES = ("tensor", "pipeline")
# Without GPUs, as many processes share the CPU.
CPU_RANKS = 2


def own_cases(names: Sequence[str], work: BenchCase, gpus: int, device: str | None) -> list[BenchCase]:
    """Return a case a strategy, on all ``gpus`` or two ranks of the CPU; WorkshopError for what cannot be."""
    ranks = gpus or CPU_RANKS
    cases = []
    for name in names:
        if name not in STRATEGIES:
            raise WorkshopError(f"--beside {name!r} is not one of {', '.join(STRATEGIES)}.")
        tensor, pipeline = split_of(name, ranks, None, None)
        case = replace(
            work, strategy=name, ranks=ranks, tensor=tensor, pipeline=pipeline,
            micro_batches=min(pipeline, work.batch),
        )  # fmt: skip
        cases.append(checked(case, device))
    return cases


def run_own(
    cases: Sequence[BenchCase], device: str | None, timeout_seconds: float, file: Path | None
) -> tuple[list[RunFigures], bool]:
    """Return the figures of the runs that ended well, and whether one failed or said something else.

    Each is added to ``file``, where there is one, as a line of JSON.
    """
    done: list[RunFigures] = []
    failed = False
    for case in cases:
        try:
            with sigterm_interrupts(), redirect_stdout(sys.stderr):
                done.append(run_case(case, device, timeout_seconds))
        except RankFailedError as failure:
            print(f"workshop bench accelerate, {case.label}: {failure}", file=sys.stderr)
            failed = True
            continue
        if file is not None:
            append(done[-1], file)
        failed |= case.dtype == "float32" and done[-1].greedy_tokens_equal is False
    return done, failed
