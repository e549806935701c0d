"""``workshop doctor``: the preflight in a terminal."""

import argparse
import json

from workshop_utils.lessons.doctor import run_doctor

EPILOG = """examples:
  workshop doctor
  workshop doctor --json    prints {"failed", "checks": [{"name", "status", "sentence", "next_step"}]}

Each check is ok (✓), a warning (!) or failed (✗). Exit code 1 when one has failed, else 0."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop doctor``."""
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print all findings."""
    report = run_doctor()
    print(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if arguments.json else report)
    return 1 if report.failed else 0
