"""``workshop efficiency JOB``: what a job used of what it asked for, and what to ask for next time."""

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from workshop_utils.cluster.job_advice import GpuUse, advice, gpu_uses, hours
from workshop_utils.cluster.job_usage import JobUsage, job_usage
from workshop_utils.cluster.nodes import Node, ask_nodes
from workshop_utils.cluster.site import VARIABLE, find_site, site_names
from workshop_utils.errors import WorkshopError
from workshop_utils.monitor.trace import read_trace
from workshop_utils.monitor.trace_summary import gpu_summaries
from workshop_utils.units import format_gib

EPILOG = """examples:
  workshop efficiency 1234567
  workshop efficiency 1234567 --trace run.ndjson --site uva

Slurm's accounting knows cores, CPU memory and time, but not how GPUs were used: record that in the job with
`workshop record -o run.ndjson -- COMMAND`. --json prints {"job", "name", "state", "elapsed_s", "cpu_share",
"memory_share", "gpus", "gpu_use": [{"name", "peak_bytes", "total_bytes", "busy_percent"}], "advice"}."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop efficiency``."""
    parser.epilog = EPILOG
    parser.add_argument("job", metavar="JOB", help="the job's number, running or ended")
    parser.add_argument("--trace", metavar="FILE", help="what `workshop record` wrote of the job's GPUs")
    parser.add_argument(
        "--site", metavar="NAME", help=f"{', '.join(site_names())} or a site.toml (default: ${VARIABLE})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print usage and advice; WorkshopError where Slurm does not know the job, or the trace is none."""
    gpus = gpu_uses(gpu_summaries(read_trace(Path(arguments.trace)))) if arguments.trace else []
    usage = job_usage(arguments.job)
    try:
        site = find_site(arguments.site)
    except WorkshopError:
        if arguments.site:
            raise
        site = None
    found = advice(usage, gpus, site, queue() if gpus else None)
    if arguments.json:
        fields = asdict(usage) | {"cpu_share": usage.cpu_share, "memory_share": usage.memory_share}
        print(json.dumps({**fields, "gpu_use": [asdict(gpu) for gpu in gpus], "advice": found}, indent=2))
        return 0
    print_usage(usage, gpus)
    for sentence in found or ["It asked for about what it used."]:
        print(f"- {sentence}")
    if usage.gpu_count and not gpus:
        print("- How its GPUs were used is not known: run it under `workshop record`, and give --trace.")
    if usage.seff:
        print(f"\nThe centre's seff says:\n{usage.seff}")
    return 0


def queue() -> list[Node] | None:
    """Return what is free now, None where Slurm does not say."""
    if shutil.which("sinfo") is None:
        return None
    try:
        return list(ask_nodes().nodes)
    except WorkshopError:
        return None


def print_usage(usage: JobUsage, gpus: list[GpuUse]) -> None:
    """Print a line for each thing that was asked for."""
    kinds = ", ".join(f"{count} × {name}" for name, count in usage.gpus.items()) or "no GPU"
    where = "1 node" if usage.nodes == 1 else f"{usage.nodes} nodes"
    print(f"Job {usage.job} ({usage.name}), {usage.state}, on {where}, {kinds}:")
    limit = f" of {hours(usage.limit_s)}" if usage.limit_s else ""
    print(f"  time        {hours(usage.elapsed_s)}{limit}")
    if usage.cpu_share is not None:
        print(f"  cores       {usage.cpu_share * usage.cores:.1f} of {usage.cores} busy")
    if usage.most_rss_bytes is not None and usage.memory_bytes:
        print(f"  CPU memory  {format_gib(usage.most_rss_bytes)} of {format_gib(usage.memory_bytes)}")
    for number, gpu in enumerate(gpus):
        peak = "?" if gpu.peak_bytes is None else format_gib(gpu.peak_bytes)
        total = "?" if gpu.total_bytes is None else format_gib(gpu.total_bytes)
        busy = "" if gpu.busy_percent is None else f", busy {gpu.busy_percent:.0f} % of the time"
        print(f"  GPU {number}       {peak} of {total}{busy} ({gpu.name})")
