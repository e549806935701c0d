"""The ``workshop`` command: finds the command's module and imports nothing else.

A command is a module with ``configure(parser)`` and ``run(arguments) -> exit code``. It stands in the room
whose work it shows; only the chosen one is imported, so that a calculator answers in a tenth of a second.
"""

import argparse
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from workshop_utils import __version__
from workshop_utils.errors import WorkshopError

# name -> (module, one line of help)
COMMANDS = {
    "lab": ("workshop_utils.lessons.lab_command", "open JupyterLab on the first notebook, panel beside it"),
    "estimate": ("workshop_utils.memory.estimate_command", "predict the GPU memory that a model needs"),
    "read-log": (
        "workshop_utils.memory.read_log_command",
        "explain a log of vLLM or a message out of memory",
    ),
    "plan": ("workshop_utils.cluster.plan_command", "which GPUs of a cluster, how many, and split how"),
    "request": (
        "workshop_utils.cluster.request_command",
        "a plan as a job: its script, checked and submitted",
    ),
    "bench": ("workshop_utils.parallel.bench_command", "measure this machine beside the predictions"),
    "plot": ("workshop_utils.figures.plot_command", "draw runs of `workshop bench` beside their limits"),
    "run": ("workshop_utils.parallel.run_command", "run a script on several ranks, with torchrun"),
    "record": ("workshop_utils.measure.record_command", "run a command and keep what its GPUs did"),
    "doctor": ("workshop_utils.lessons.doctor_command", "check this machine: torch, GPUs, caches, panel"),
    "model": ("workshop_utils.models.model_command", "prepare the small real model that the notebooks use"),
    "gpus": ("workshop_utils.cluster.gpus_command", "which GPUs of the cluster are free now (Slurm)"),
    "nodes": ("workshop_utils.cluster.nodes_command", "show a job's other nodes in the panel (Slurm)"),
    "site": ("workshop_utils.cluster.site_command", "what a computing centre has; the draft of a new file"),
    "efficiency": ("workshop_utils.cluster.efficiency_command", "what a Slurm job used of what it asked for"),
    "kernel": ("workshop_utils.lessons.kernel_command", "give an existing JupyterLab our kernel and panel"),
}
EXIT_BAD_INPUT = 2
WIDTH = 80  # of a terminal that does not say
# New objects between two garbage collections: with Python's 700, they are a tenth of a short command's time.
OBJECTS_A_COLLECTION = 100_000
# As a shell says of a command ended by SIGINT and SIGPIPE.
EXIT_INTERRUPTED, EXIT_CLOSED_PIPE = 130, 141


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the list of all options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message}; `{self.prog} --help` shows what there is.\n")


def help_formatter(prog: str) -> argparse.HelpFormatter:
    """Return argparse's formatter, as wide as the terminal; to find that, argparse would import shutil."""
    try:
        columns = int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size().columns or WIDTH
    except (ValueError, OSError):
        columns = WIDTH
    return argparse.RawDescriptionHelpFormatter(prog, width=columns - 2)


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser, with the options of the ``chosen`` command only."""
    parser = Parser(
        prog="workshop",
        description="Predict, measure and explain multi-GPU LLM inference.",
        epilog="example: workshop estimate gemma-3-27b --tokens 131072",
        formatter_class=help_formatter,
    )
    parser.add_argument("--version", action="version", version=f"multigpu-llm-workshop {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, prog=parser.prog)
    # A command that there is needs no other one's parser; without one, the help lists all.
    for name in [chosen] if chosen else COMMANDS:
        module, summary = COMMANDS[name]
        subparser = subparsers.add_parser(
            name, help=summary, description=summary, formatter_class=help_formatter
        )
        if name == chosen:
            importlib.import_module(module).configure(subparser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input becomes one sentence on standard error and exit code 2."""
    gc.set_threshold(OBJECTS_A_COLLECTION)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows ? for a bar
    chosen = words[0] if words and words[0] in COMMANDS else None
    parsed = build_parser(chosen).parse_args(words)
    try:
        exit_code: int = importlib.import_module(COMMANDS[parsed.command][0]).run(parsed)
        sys.stdout.flush()
    except WorkshopError as error:
        print(f"workshop {parsed.command}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # the reader closed it, as in `workshop estimate … | head`
        sys.stdout = None
        return EXIT_CLOSED_PIPE
    except OSError as error:  # a full disk, a folder that went away
        print(f"workshop {parsed.command}: {error}.", file=sys.stderr)
        sys.stdout = None
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
