"""``workshop plan MODEL``: on which GPUs of a site, how many, split how, for how long, and why."""

import argparse
import json
import sys
from dataclasses import replace

from workshop_utils.cluster.plan_options import add_plan_options, planning_of
from workshop_utils.cluster.plan_text import SHOWN, print_text
from workshop_utils.cluster.request import request_of
from workshop_utils.cluster.request_job import chosen_plan, name_for_a_job
from workshop_utils.cluster.sbatch_script import render
from workshop_utils.cluster.site import Site
from workshop_utils.planner.plan import Plan, Planning
from workshop_utils.planner.to_panel import show_plan_in_panel

EPILOG = """examples:
  workshop plan gemma-3-27b --tokens 32768 --site uva
  workshop plan gemma-3-27b --tokens 32768 --prompts 200 --deadline 24 --site uva
  workshop plan llama-3.1-70b --tokens 8192 --prompts 1000 --engine vllm --site uva --gpu A100-80GB
  workshop plan llama-3.1-8b --site ./site.toml --json
  workshop plan llama-3.1-70b --tokens 8192 --site uva --to-panel 2

Plans come best first: in time, on few GPUs, on free ones, on a type that few wait for, in 16 bits, on the
smallest that does. `workshop request` turns one into a job. --json prints
  {"model", "tokens", "new_tokens", "prompts", "considered", "site",
   "plans": [{"gpu", "nodes", "gpus_per_node", "layout": {"dp", "pp", "tp", "ep"}, "dtype", "engine",
     "runner", "batch", "per_gpu_bytes", "usable_bytes", "expected_tokens_per_s", "range", "certainty",
     "ttft_s", "tpot_ms", "hours", "gpu_hours", "in_time", "starts_now", "communication", "why", "estimate",
     "sbatch"}],
   "refused": [{"gpu", "layout", "dtype", "reason", "nearest"}]}
expected_tokens_per_s are tokens of answers over the whole job, from the roofline and what runners were
measured to reach of it on H100 and H200 (certainty measured) or are assumed to on others."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop plan``."""
    parser.epilog = EPILOG
    add_plan_options(parser)
    parser.add_argument(
        "--all", action="store_true", help=f"all plans, not the first {SHOWN}, and all refusals"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, sizes in bytes")
    parser.add_argument(
        "--to-panel", type=plan_number, nargs="?", const=1, metavar="N",
        help="draw plan N in JupyterLab's GPU panel, beside what is really used (default 1)",
    )  # fmt: skip


def plan_number(text: str) -> int:
    """Return the number; argparse turns the error into its message, also for a model that stands here."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the number of a plan; write --to-panel behind the model, alone or with a number"
        ) from None


def run(arguments: argparse.Namespace) -> int:
    """Print the plans; exit code 1 where nothing works. WorkshopError for bad input."""
    site, planning = planning_of(arguments)
    number = arguments.to_panel
    # A number that is none is told before anything is printed.
    drawn = chosen_plan(planning, number) if number is not None and planning.plans else None
    if arguments.json:
        print_json(planning, site, arguments.model)
    else:
        print_text(planning, site, arguments)
    if drawn is not None:
        print(f"Plan {number}: {show_plan_in_panel(drawn)}", file=sys.stderr)
    elif number is not None:
        print("Nothing works, so nothing is drawn in the panel.", file=sys.stderr)
    return 0 if planning.plans else 1


def print_json(planning: Planning, site: Site, model: str) -> None:
    """Print all plans, each with its job."""
    scripts = tuple(replace(each, sbatch=script_of(each, site, model)) for each in planning.plans)
    print(json.dumps({"site": site.name, **replace(planning, plans=scripts).as_json()}, indent=2))


def script_of(plan: Plan, site: Site, model: str) -> str:
    """Return the job of a plan, as `workshop request` writes it; ``model`` is the reader's word for it."""
    return render(request_of(plan, site, model=name_for_a_job(model)), site)
