"""``workshop nodes``: show the other nodes of this Slurm job in the panel, as long as it runs."""

import argparse
import json
import sys
import time
from pathlib import Path

import psutil

from workshop_utils.cluster.nodes_step import other_nodes
from workshop_utils.cluster.nodes_watch import END_SECONDS, NodesWatch
from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.node_reading import NodeReading, row_of
from workshop_utils.monitor.nodes_file import OtherNodes, nodes_file, read_nodes, shown

# psutil takes the clock of the machine's start, and thus of a process, from whole seconds.
CLOCK_SECONDS = 2.0
WAIT_SECONDS = END_SECONDS + 2.0
LOOK_SECONDS = 0.1

EPILOG = """example: workshop nodes
         workshop nodes --json > nodes.ndjson

Run it in a terminal of the JupyterLab whose panel should show them; a notebook has
`with show_nodes(): …` from workshop_utils.monitor.show_nodes. One srun --overlap starts a collector on each
other node, whose figures come back over srun's output: no port is opened, and the step takes no cores, memory
or GPUs from what runs. Ctrl-C ends it and all collectors. --json prints each reading as a line besides:
{"node", "time", "gpus": [{"index", "name", "status", "error", "utilization_percent", "memory_used_bytes",
"memory_total_bytes", "power_watts", "mine"}], "gpus_error", "host": {"cpu_percent", "cpu_limit_cores",
"memory_used_bytes", "memory_limit_bytes"}, "host_error"}."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop nodes``."""
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="print each reading as one JSON object a line")
    parser.add_argument(
        "--end-with-input",
        action="store_true",
        help="end when standard input does; for programs that start this",
    )


def run(arguments: argparse.Namespace) -> int:
    """Watch until Ctrl-C; WorkshopError where there is nothing to watch, or somebody does already."""
    others, file = other_nodes(), nodes_file()
    _follow_on(file)
    count = "1 other node" if len(others.names) == 1 else f"{len(others.names)} other nodes"
    print(
        f"The panel of JupyterLab on this machine shows {count} of job {others.job} "
        f"({', '.join(others.names)}) until this ends: Ctrl-C.",
        file=sys.stderr,
        flush=True,
    )
    NodesWatch(others, file, _print if arguments.json else None).run(end_with_input=arguments.end_with_input)
    return 0


def _follow_on(file: Path) -> None:
    """Return when no other command runs that we know of; WorkshopError where one is not about to end."""
    before = read_nodes(file)
    if before is None or not _runs(before):
        return
    frame = shown(before)
    if frame is not None and frame["ended"] is None:
        raise WorkshopError(
            f"process {before.pid} shows the other nodes of job {before.job} already; end it first, with "
            f"`kill {before.pid}` or by the notebook that started it."
        )
    # One that ends writes no more, so that a hanging srun of its own is in nobody's way.
    deadline = time.monotonic() + WAIT_SECONDS
    while _runs(before) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _runs(found: OtherNodes) -> bool:
    """Whether the process that wrote this lives: one of its number that began later is another program."""
    try:
        process = psutil.Process(found.pid)
        began_before = process.create_time() < found.started_at + CLOCK_SECONDS
        return began_before and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, OverflowError):
        return False


def _print(node: str, reading: NodeReading) -> None:
    print(json.dumps({"node": node, **row_of(reading)}), flush=True)
