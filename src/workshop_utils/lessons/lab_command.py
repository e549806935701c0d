"""``workshop lab``: the first notebook in JupyterLab, the live panel beside it."""

import argparse
import os
import sys
from pathlib import Path

from workshop_utils.lessons.lab_server import (
    become,
    lab_command,
    lab_environment,
    require_port,
    require_runtime_folder,
)
from workshop_utils.lessons.notebooks import bring_notebooks, notebook_folder
from workshop_utils.models.small_model import prepare_small_model

EPILOG = """examples:
  workshop lab
  workshop lab --folder ~/my-workshop --port 8899 --no-browser
  workshop lab -- --ServerApp.base_url=/node/HOST/PORT/     what follows -- goes to JupyterLab

An installed workshop copies its notebooks to FOLDER (default: multigpu-llm-workshop in your home). Files
that you changed stay as they are; the others are brought up to date. A checkout opens its own notebooks."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop lab``."""
    parser.epilog = EPILOG
    parser.add_argument("--folder", type=Path, help="where your notebooks are, or shall be")
    parser.add_argument(
        "--port", type=int, help="this port and no other (default: the next free one from 8888)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    parser.add_argument("extra", nargs="*", metavar="-- OPTION", help="options for JupyterLab")


def run(arguments: argparse.Namespace) -> int:
    """Check everything that is quick, prepare the model where it is missing, and become JupyterLab."""
    if arguments.port is not None:
        require_port(arguments.port)
    require_runtime_folder()
    folder = notebook_folder(arguments.folder)
    kept = bring_notebooks(folder)
    for sentence in kept:
        print(sentence, file=sys.stderr)
    prepare_small_model()
    print(f"Notebooks: {folder}. Ctrl-C here ends JupyterLab.", file=sys.stderr)
    command = lab_command(folder, arguments.port, not arguments.no_browser, arguments.extra)
    return become(command, lab_environment(os.environ))
