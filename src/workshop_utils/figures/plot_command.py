"""``workshop plot``: the figure of runs that ``workshop bench`` wrote to a file."""

import argparse
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.figures.bench_bars import bench_bars
from workshop_utils.measure.measurement import load_measurements

FORMATS = (".svg", ".png", ".pdf")
EPILOG = """examples:
  workshop bench run --strategy plain,tensor --ranks 3 --model smollm2-135m --out runs.jsonl
  workshop plot runs.jsonl --out speeds.svg
  workshop plot notebooks/recorded/two_h200_workshop.json --out speeds.png

A bar is what was measured, the mark behind it what the memory of that device allows."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop plot``."""
    parser.epilog = EPILOG
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="runs, .jsonl or .json")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=f"the figure: {', '.join(FORMATS)}"
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw all runs of the files into one figure."""
    out: Path = arguments.out
    if out.suffix not in FORMATS:
        raise WorkshopError(f"{out.name} does not end in {', '.join(FORMATS)}; name the figure so.")
    picture = bench_bars([run for file in arguments.files for run in load_measurements(file)])
    picture.figure.savefig(out)
    print(f"{picture.description}\nwritten to {out}")
    return 0
