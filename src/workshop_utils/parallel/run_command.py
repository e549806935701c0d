"""``workshop run``: run a script on several ranks of this node, or of several nodes of a Slurm job."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import Any

from workshop_utils.parallel.launch.launcher import TIMEOUT_SECONDS, launch

EPILOG = """example: workshop run --ranks 2 tensor_parallel.py --tokens 4096
         workshop run --nodes 2 --ranks 8 pipeline.py        (in a Slurm job of two nodes)

Runs the script as `torchrun` would, in processes of their own: rank i finds LOCAL_RANK=i and uses GPU i, or
gloo on the CPU. What stands after SCRIPT goes to the script. Each line of output has its rank in front. When
a rank fails, hangs or is killed, all are ended within seconds, and the last line says which rank it was, why,
and where the logs are. Only this machine's loopback interface is listened on. With --nodes, srun starts
torchrun on as many nodes of this Slurm job, --ranks on each; they meet at a port of the first node, so only
inside a cluster's own network.

--json prints {"outcome", "message", "ranks", "seconds", "measurements"} on standard output and the ranks'
lines on standard error. outcome: finished, failed, killed, out_of_memory, timed_out, interrupted.
measurements: what the script gave to notes.hand_back (workshop_utils.parallel.launch.notes), each with its
"rank". The exit code is 0, 1 when a rank failed, 2 for what cannot be run, 130 when interrupted."""

INTERRUPTED = "Interrupted; all ranks were ended."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop run``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--ranks", type=int, required=True, metavar="N", help="how many ranks to start on each node"
    )
    parser.add_argument(
        "--nodes", type=int, default=1, metavar="N", help="nodes of this Slurm job (default 1)"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: the GPUs, where there are some")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_SECONDS, metavar="SECONDS",
        help=f"end a run in which no rank says anything for so long (default {TIMEOUT_SECONDS:g})",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser.add_argument("script", metavar="SCRIPT", help="a Python file")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help="arguments of the script")


def run(arguments: argparse.Namespace) -> int:
    """Run the script; 1 when a rank failed. WorkshopError for what cannot be run."""
    started = time.monotonic()
    try:
        with sigterm_interrupts(), redirect_stdout(sys.stderr if arguments.json else sys.stdout):
            result = launch(
                arguments.script, arguments.arguments, arguments.ranks,
                nodes=arguments.nodes, device=arguments.device, timeout_seconds=arguments.timeout,
            )  # fmt: skip
    except KeyboardInterrupt:
        if arguments.json:
            print_json(interrupted(arguments.ranks * arguments.nodes, time.monotonic() - started))
        else:
            print(INTERRUPTED, file=sys.stderr)
        raise
    if arguments.json:
        print_json(result.as_json())
    else:
        print(result.message, file=sys.stdout if result.finished else sys.stderr)
    return 0 if result.finished else 1


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Have SIGTERM end the run as Ctrl-C does: Slurm sends it before a job's time is over."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupted(ranks: int, seconds: float) -> dict[str, Any]:
    return {
        "outcome": "interrupted", "message": INTERRUPTED, "ranks": ranks, "seconds": round(seconds, 3),
        "measurements": [],
    }  # fmt: skip


def print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2))
