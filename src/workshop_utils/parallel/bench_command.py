"""``workshop bench``: measure this machine against the predictions."""

import argparse
import importlib

# name -> (module, one line of help)
PROGRAMMES = {
    "run": (
        "workshop_utils.parallel.bench_run_command",
        "a model split by a strategy: times, memory, and whether it says the same",
    ),
    "accelerate": (
        "workshop_utils.parallel.big_model.bench_accelerate_command",
        "a model on several of Accelerate's device maps: times and memory, predicted beside measured",
    ),
    "memory": (
        "workshop_utils.measure.bench_memory_command",
        "GPU memory of generate() on shape twins, predicted beside measured",
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the programmes of ``workshop bench``."""
    parser.epilog = "example: workshop bench memory --models qwen3-8b --tokens 4096,32768 --batch 1,8"
    programmes = parser.add_subparsers(dest="programme", metavar="PROGRAMME", required=True)
    for name, (module, summary) in PROGRAMMES.items():
        programme = programmes.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        importlib.import_module(module).configure(programme)


def run(arguments: argparse.Namespace) -> int:
    """Run one programme."""
    exit_code: int = importlib.import_module(PROGRAMMES[arguments.programme][0]).run(arguments)
    return exit_code
