"""``workshop gpus``: which GPUs of the cluster are free now, and which of those can be had."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from workshop_utils.cluster.expected_start import check_name, expected_start
from workshop_utils.cluster.nodes import Node, Nodes, ask_nodes
from workshop_utils.cluster.shell_words import comment
from workshop_utils.errors import WorkshopError
from workshop_utils.units import GB

EPILOG = """example: workshop gpus
         workshop gpus --partition gpu --type a100 --nodes
         workshop gpus --start --hours 4 --account my_allocation

Free is what no job has been given. Usable is what is free on a node that takes jobs and has cores and memory
left for it: --cores and --memory-gb for each GPU. --start asks Slurm for each type when a job with one
of them would start (sbatch --test-only, which submits nothing). --json prints {"gpus": [{"type", "total",
"free", "usable", "usable_on_one_node", "nodes", "features", "start"}], "nodes": [...], "unread": [...]}."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop gpus``."""
    parser.epilog = EPILOG
    parser.add_argument("--partition", metavar="NAME", help="only this partition; default: all")
    parser.add_argument("--type", metavar="TYPE", help="only GPUs of this type, as Slurm calls it: a100")
    parser.add_argument("--cores", type=int, default=1, help="cores wanted for each GPU (default 1)")
    parser.add_argument(
        "--memory-gb", type=float, default=8, help="main memory wanted for each GPU (default 8 GB)"
    )
    parser.add_argument("--nodes", action="store_true", help="a line for each node besides")
    parser.add_argument("--start", action="store_true", help="when would a job with one of them start?")
    parser.add_argument("--hours", type=float, default=1, help="of that job (default 1)")
    parser.add_argument("--account", metavar="NAME", help="of that job, where the centre wants one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; WorkshopError for a type or partition that is not there, or no Slurm."""
    check(arguments)
    found = ask_nodes(arguments.partition)
    memory = round(arguments.memory_gb * GB)
    rows = summary(found.nodes, arguments.cores, memory)
    if not rows:
        where = f"partition {arguments.partition}" if arguments.partition else "this cluster"
        raise WorkshopError(f"no node of {where} has a GPU; `sinfo` lists the partitions.")
    if arguments.type:
        rows = [row for row in rows if row["type"] == arguments.type.lower()]
        if not rows:
            choices = ", ".join(dict.fromkeys(gpu for node in found.nodes for gpu in node.gpus))
            raise WorkshopError(f"there is no GPU of type {arguments.type} here; choices: {choices}.")
    if arguments.start:
        for row in rows:
            row["start"] = expected_start(
                row["type"], found.nodes, cores=arguments.cores, memory_bytes=memory, hours=arguments.hours,
                account=arguments.account, partition=arguments.partition,
            )  # fmt: skip
    kept = {row["type"] for row in rows}
    lines = [line for line in node_lines(found.nodes, arguments.cores, memory) if line["type"] in kept]
    if arguments.json:
        print(json.dumps({"gpus": rows, "nodes": lines, "unread": found.unread}, indent=2))
        return 0
    start = {"start": "one could start"} if arguments.start else {}
    headers = ("type", "total", "free", "usable", "most on one node", *start.values(), "features")
    keys = (*TYPE_KEYS[:-1], *start, TYPE_KEYS[-1])
    print_table(headers, [tuple(row[key] for key in keys) for row in rows])
    if arguments.nodes:
        print()
        print_table(
            ("node", "type", "total", "free", "usable", "why not usable"),
            [tuple(line[key] for key in NODE_KEYS) for line in lines],
        )
    print(
        f"\nUsable: on a node that takes jobs, with {cores_words(arguments.cores)} and "
        f"{arguments.memory_gb:g} GB of main memory free for each GPU. Other jobs may wait for them already."
    )
    report_unread(found)
    return 0


TYPE_KEYS = ("type", "total", "free", "usable", "usable_on_one_node", "features")
NODE_KEYS = ("node", "type", "total", "free", "usable", "why")
# More hours or GB than any job has.
MOST = 10**6


def check(arguments: argparse.Namespace) -> None:
    """Raise WorkshopError for amounts that are none, and for names that are none of Slurm's."""
    # Written so that nan, which is a float as well, is refused.
    if arguments.cores < 1 or not 0 <= arguments.memory_gb <= MOST:
        raise WorkshopError(f"--cores must be 1 or more, and --memory-gb from 0 to {MOST}.")
    if not 0 < arguments.hours <= MOST:
        raise WorkshopError(f"--hours must be above 0, and at most {MOST}.")
    for name in ("partition", "account"):
        check_name(name, getattr(arguments, name))


def summary(nodes: Sequence[Node], cores: int, memory_bytes: int) -> list[dict[str, Any]]:
    """Return a row for each type of GPU, in the order in which the nodes have them."""
    types = dict.fromkeys(gpu for node in nodes for gpu in node.gpus)
    rows = []
    for gpu in types:
        having = [node for node in nodes if gpu in node.gpus]
        usable = [node.usable(gpu, cores, memory_bytes) for node in having]
        features = dict.fromkeys(name for node in having for name in node.features if name != gpu)
        rows.append(
            {
                "type": gpu,
                "total": sum(node.gpus[gpu] for node in having),
                "free": sum(node.free(gpu) for node in having),
                "usable": sum(usable),
                "usable_on_one_node": max(usable),
                "nodes": len(having),
                "features": ", ".join(features),
            }
        )
    return rows


def node_lines(nodes: Sequence[Node], cores: int, memory_bytes: int) -> list[dict[str, Any]]:
    """Return a line for each node and type of GPU, with the reason why free ones cannot be had."""
    return [
        {
            "node": node.name,
            "type": gpu,
            "total": total,
            "free": node.free(gpu),
            "usable": node.usable(gpu, cores, memory_bytes),
            "why": why_not(node, gpu, cores, memory_bytes),
        }
        for node in nodes
        for gpu, total in node.gpus.items()
    ]


def why_not(node: Node, gpu: str, cores: int, memory_bytes: int) -> str:
    """Return why a node's free GPUs are not all usable; nothing where they are."""
    usable = node.usable(gpu, cores, memory_bytes)
    if usable == node.free(gpu):
        return ""
    if not node.takes_jobs:
        state = "+".join(node.states)
        return f"{state}: {comment(node.reason)}" if node.reason else state
    if node.cores_free // cores == usable:
        return f"{cores_words(node.cores_free)} free"
    return f"{node.memory_free_bytes / GB:.0f} GB of memory free"


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under headers: text to the left, numbers to the right."""
    lines = [headers, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    numbers = [all(isinstance(row[column], int) for row in rows) for column in range(len(headers))]
    for line in lines:
        cells = zip(line, widths, numbers, strict=True)
        padded = (cell.rjust(width) if number else cell.ljust(width) for cell, width, number in cells)
        print("  ".join(padded).rstrip())


def cores_words(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def report_unread(found: Nodes) -> None:
    if found.unread:
        lines = "1 line" if len(found.unread) == 1 else f"{len(found.unread)} lines"
        print(f"{lines} of sinfo could not be read; the first: {comment(found.unread[0])}")
