"""``workshop record``: run a command and keep what its GPUs did as a trace."""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.recording import record
from workshop_utils.monitor.subscription import FASTEST_HZ, SLOWEST_HZ
from workshop_utils.monitor.trace import read_trace
from workshop_utils.monitor.trace_summary import gpu_summaries
from workshop_utils.units import format_gib

NOT_FOUND, NOT_ALLOWED, BY_SIGNAL = 127, 126, 128
NOT_RUN = -1
PASSED_ON = (
    signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGCONT,
)  # fmt: skip
Process = subprocess.Popen[bytes]
EPILOG = """example: workshop record --out decode.ndjson -- python generate.py --model llama-3.1-8b

The command runs as it would without us, with its output, its exit code and the signals that it gets: TERM,
HUP, USR1, USR2, QUIT and CONT are passed on, as of Slurm's `--signal=USR1@60`. The trace is text, one JSON
object a line: a header, the samples of `workshop-monitor/stream`, an end. --json prints {"trace",
"exit_code", "seconds", "gpus": [{"index", "name", "peak_memory_bytes", "mean_utilization_percent",
"mean_sm_percent", "mean_power_watts", "joules", "throttled_by", …}]} on standard output once the command has
ended; without it, the same in words goes to standard error."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop record``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: trace-DATE.ndjson in this folder, in a Slurm job trace-DATE-rankN.ndjson",
    )
    parser.add_argument(
        "--hz",
        type=float,
        default=1.0,
        help=f"samples a second, {SLOWEST_HZ:g} to {FASTEST_HZ:g} (default 1)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("command_line", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="what to run")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit code, 128 + signal where one ended it."""
    words = arguments.command_line[1:] if arguments.command_line[:1] == ["--"] else arguments.command_line
    if not words:
        raise WorkshopError("there is no command to record; write it behind --, as in `-- python script.py`.")
    if not SLOWEST_HZ <= arguments.hz <= FASTEST_HZ:
        raise WorkshopError(f"--hz {arguments.hz:g} is out of range; give {SLOWEST_HZ:g} to {FASTEST_HZ:g}.")
    exit_code = NOT_RUN
    with passed_on() as started:
        try:
            with record(arguments.out, arguments.hz, words) as writer:
                exit_code = run_command(words, started)
            report(writer.file, exit_code, as_json=arguments.json)
        except (WorkshopError, OSError) as error:
            if exit_code == NOT_RUN:
                raise
            with suppress(OSError):  # standard error may be on the same full disk
                print(f"workshop record: {error}", file=sys.stderr)
    return exit_code


def run_command(words: Sequence[str], started: Callable[[Process], None]) -> int:
    """Run to the end, telling ``started`` of the process; Ctrl-C reaches the command by itself."""
    try:
        process = subprocess.Popen(words)
    except FileNotFoundError:
        print(f"workshop record: there is no command {words[0]!r}.", file=sys.stderr)
        return NOT_FOUND
    except OSError as error:
        print(f"workshop record: {words[0]!r} cannot be run: {error.strerror}.", file=sys.stderr)
        return NOT_ALLOWED
    started(process)
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            continue
    return code if code >= 0 else BY_SIGNAL - code


@contextmanager
def passed_on() -> Iterator[Callable[[Process], None]]:
    """Hand signals, which Slurm sends to us alone, to the command; yields what to tell of its process.

    Those that come before are handed on as soon as it has started. What is ignored stays so, also in the
    command: so `nohup` begins.
    """
    process: Process | None = None
    early: list[int] = []

    def hand_on(number: int, _frame: FrameType | None = None) -> None:
        if process is None:
            early.append(number)
        else:
            with suppress(PermissionError):  # another user's by now, as of sudo
                process.send_signal(number)

    def started(new: Process) -> None:
        nonlocal process
        process = new
        for number in early:
            hand_on(number)

    heeded = [number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, hand_on) for number in heeded}
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def report(file: Path, exit_code: int, *, as_json: bool) -> None:
    """Print what the trace holds."""
    trace = read_trace(file)
    gpus = gpu_summaries(trace) if trace.samples else []
    if as_json:
        found = {"trace": str(file), "exit_code": exit_code, "seconds": trace.seconds, "gpus": gpus}
        print(json.dumps(found, indent=2))
        return
    print(f"{file}: {len(trace.samples)} samples in {trace.seconds:.1f} s", file=sys.stderr)
    for gpu in gpus:
        print(f"GPU {gpu['index']} ({gpu['name']}): {words_of(gpu)}", file=sys.stderr)
    if trace.samples and not gpus and (why := trace.samples[-1]["gpus"]["error"]):
        print(why, file=sys.stderr)


def words_of(gpu: Mapping[str, Any]) -> str:
    """Return one GPU's figures in words, without those that are not there."""
    parts = []
    if gpu["peak_memory_bytes"] is not None:
        parts.append(f"peak memory {format_gib(gpu['peak_memory_bytes'])}")
    for name, figure, unit in (
        ("utilisation", "mean_utilization_percent", "%"), ("SMs", "mean_sm_percent", "%"),
        ("tensor cores", "mean_tensor_percent", "%"), ("memory bandwidth", "mean_dram_percent", "%"),
        ("power", "mean_power_watts", "W"), ("energy", "joules", "J"),
    ):  # fmt: skip
        if gpu[figure] is not None:
            parts.append(f"{name} {gpu[figure]:.0f} {unit}")
    held = ", ".join(gpu["throttled_by"])
    return ", ".join(parts) + (f"; held back by {held}" if held else "")
