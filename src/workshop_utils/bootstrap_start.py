"""What ``make`` asks of the bootstrap: an environment, the lab in it, or one install for a whole class."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from workshop_utils.bootstrap_environment import Environment, prepare, remove
from workshop_utils.bootstrap_place import environment_folder, link_to_checkout
from workshop_utils.bootstrap_shared import install_shared
from workshop_utils.bootstrap_torch import CHOICES
from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.caches import cache_variables

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def start(arguments: Sequence[str]) -> int:
    """Do what the arguments say; bad input or a broken surrounding becomes one sentence and exit code 2."""
    parsed = build_parser().parse_args(arguments)
    # Before pip, npm and the hub start, and before the lab, which hands them on to its kernels.
    os.environ.update(cache_variables())
    try:
        exit_code: int = parsed.run(parsed)
    except WorkshopError as error:
        print(f"make: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("\nmake: stopped; the next start takes it up again.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return exit_code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the three jobs."""
    parser = argparse.ArgumentParser(prog="bootstrap.py", description=__doc__)
    parser.add_argument("--torch", default="", metavar="|".join(CHOICES), help="which build of PyTorch")
    jobs = parser.add_subparsers(dest="job", required=True)
    lab = jobs.add_parser("lab", help="make the environment where needed and open the lab")
    lab.set_defaults(run=run_lab)
    environment = jobs.add_parser("environment", help="make the environment and stop")
    environment.add_argument("--extra", action="append", default=[], help="an extra of pyproject.toml")
    environment.set_defaults(run=run_environment)
    clean = jobs.add_parser("clean", help="remove the environment and the built panel")
    clean.set_defaults(run=run_clean)
    shared = jobs.add_parser("install", help="make one read-only install for a whole class")
    shared.add_argument("prefix", type=Path, help="a new folder that the class may read")
    shared.set_defaults(run=run_install)
    return parser


def make_environment(torch: str, extras: Sequence[str]) -> Environment:
    """Make or update the environment of this checkout and return it."""
    folder = environment_folder()
    environment = prepare(folder, torch=torch, extras=frozenset(extras))
    link_to_checkout(folder)
    return environment


def run_lab(parsed: argparse.Namespace) -> int:
    """Open the lab, after making the environment where it is missing; the lab prepares its model itself.

    Its options come as one string in WORKSHOP_ARGS, because a command line in make loses their quotes.
    """
    try:
        options = shlex.split(os.environ.pop("WORKSHOP_ARGS", ""))
    except ValueError as error:
        raise WorkshopError(f"ARGS cannot be read ({error}); close every quote.") from error
    workshop = str(make_environment(parsed.torch, []).command("workshop"))
    # The lab takes this process's place, so that its signals and exit code are make's.
    os.execv(workshop, [workshop, "lab", *options])  # noqa: S606


def run_environment(parsed: argparse.Namespace) -> int:
    """Make the environment with its extras."""
    make_environment(parsed.torch, parsed.extra)
    return 0


def run_clean(parsed: argparse.Namespace) -> int:
    """Remove the environment, where it is ours, and the built panel."""
    remove(Environment(environment_folder()))
    return 0


def run_install(parsed: argparse.Namespace) -> int:
    """Make one shared install below the prefix."""
    install_shared(parsed.prefix.expanduser().absolute(), torch=parsed.torch)
    return 0
