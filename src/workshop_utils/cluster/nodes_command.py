"""``workshop nodes``: show the other nodes of this Slurm job in the panel, as long as it runs."""

import argparse
import json
import sys

from workshop_utils.cluster.nodes_step import other_nodes
from workshop_utils.cluster.nodes_watch import NodesWatch
from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.node_reading import NodeReading, row_of
from workshop_utils.monitor.nodes_file import nodes_file, read_nodes, shown

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
    before = read_nodes(file)
    frame = shown(before) if before is not None else None
    if before is not None and frame is not None and frame["ended"] is None:
        raise WorkshopError(
            f"process {before.pid} shows the other nodes of job {before.job} already; end it first, with "
            f"`kill {before.pid}` or by the notebook that started it."
        )
    count = "1 other node" if len(others.names) == 1 else f"{len(others.names)} other nodes"
    print(
        f"The panel of JupyterLab on this machine shows {count} of job {others.job} "
        f"({', '.join(others.names)}) until this ends: Ctrl-C.",
        file=sys.stderr,
        flush=True,
    )
    NodesWatch(others, file, _print if arguments.json else None).run(end_with_input=arguments.end_with_input)
    return 0


def _print(node: str, reading: NodeReading) -> None:
    print(json.dumps({"node": node, **row_of(reading)}), flush=True)
