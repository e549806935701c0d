"""``workshop request``: a plan as a job: its script, checked, shown, and submitted if you say so."""

import argparse
import json
import sys
from pathlib import Path

from workshop_utils.cluster.new_file import write_new
from workshop_utils.cluster.plan_options import add_plan_options
from workshop_utils.cluster.request_job import Job, checked_script, planned_script
from workshop_utils.cluster.site_rules import check_script
from workshop_utils.cluster.submit import cancel, job_number, job_states, submit, test_only, watch
from workshop_utils.errors import WorkshopError

EPILOG = """examples:
  workshop request gemma-3-27b --tokens 32768 --prompts 200 --site uva --account mygroup
  workshop request gemma-3-27b --tokens 32768 --site uva --plan 2 --account mygroup --out job.sh
  workshop request --check job.sh --site uva
  workshop request --check job.sh --site uva --submit
  workshop request --watch 4711
  workshop request --cancel 4711

Writes the job of a plan of `workshop plan` (with the same options; --plan is its number there): the sbatch
script, and what to enter in the centre's Open OnDemand form where that can start it. The script is compared
with the site file first; then, where there is Slurm, `sbatch --test-only` says when it would start. Nothing
is submitted without --submit, and then only after the script was shown and you said y. --check does the same
for a script of yours. Until you put your own command there, a job proves its plan, where it can on random
weights.

--json prints {"site", "plan", "request", "script", "form": {LABEL: VALUE} or null, "form_refusal",
 "problems": [{"kind", "line", "sentence"}], "slurm": {"accepted", "start", "nodes", "message", "advice"} or
 null, "slurm_unasked", "job"}; plan, request and form are null for --check. With --watch it prints a line
 {"job", "state", "elapsed", "limit", "why", "start"} for each change. The exit code is 1 where the site or
Slurm would refuse the script, where it was not submitted although --submit stood there, or where a job that
was watched did not complete."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop request``."""
    parser.epilog = EPILOG
    add_plan_options(parser, model_required=False)
    group = parser.add_argument_group("the job")
    group.add_argument(
        "--plan", type=int, default=1, metavar="N", help="which plan of `workshop plan` (default 1)"
    )
    group.add_argument("--account", metavar="NAME", help="the allocation that pays")
    group.add_argument(
        "--hours", type=float, metavar="H", help="time limit (default: the plan's slow end and a third)"
    )
    group.add_argument("--out", type=Path, metavar="FILE", help="write the script to this new file")
    group.add_argument("--submit", action="store_true", help="submit it, after showing it and asking")
    group.add_argument("--yes", action="store_true", help="answer y to what is asked; for scripts")
    group = parser.add_argument_group("instead of a model")
    instead = group.add_mutually_exclusive_group()
    instead.add_argument("--check", type=Path, metavar="FILE", help="check a script of yours")
    instead.add_argument("--watch", metavar="JOB", help="say what a job does until it is over")
    instead.add_argument("--cancel", metavar="JOB", help="end a job, after asking")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; WorkshopError for bad input."""
    others = (arguments.check, arguments.watch, arguments.cancel)
    if (arguments.model is None) == all(other is None for other in others):
        raise WorkshopError(
            "give either a MODEL to plan for, or one of --check FILE, --watch JOB, --cancel JOB."
        )
    if arguments.json and not arguments.yes and (arguments.submit or arguments.cancel):
        raise WorkshopError("--json leaves nowhere to ask; look at the job first, then add --yes.")
    if arguments.watch is not None:
        return watch_job(arguments.watch, arguments.json)
    if arguments.cancel is not None:
        return cancel_job(arguments)
    job = checked_script(arguments) if arguments.check else planned_script(arguments)
    job.problems = check_script(job.script, job.site)
    try:
        job.answer = test_only(job.script, job.site)
    except WorkshopError as error:
        job.unasked = str(error)
    if arguments.out:
        write_new(arguments.out, job.script)
    if not arguments.json:
        show(job, arguments)
    refused = bool(job.problems) or (job.answer is not None and not job.answer.accepted)
    if arguments.submit:
        refused = refused or not submitted(job, arguments)
    if arguments.json:
        print(json.dumps(job.as_json(), indent=2))
    return int(refused)


def show(job: Job, arguments: argparse.Namespace) -> None:
    """Print the script, the form's entries, and what site and Slurm say."""
    if arguments.check is None or arguments.submit:
        print(job.script)
    if arguments.out:
        print(f"Written to {arguments.out}.")
    entries, refusal = job.form()
    if entries:
        print(f"Or in Open OnDemand ({job.site.form.get('app', 'JupyterLab')}, {job.site.form['url']}):")
        width = max(len(label) for label, _ in entries)
        for label, value in entries:
            print(f"  {label.ljust(width)}  {value}")
    elif refusal:
        print(f"Not in Open OnDemand: {refusal}")
    for problem in job.problems:
        where = f"line {problem.line}: " if problem.line else ""
        # What the reader has left to fill in no site refuses: it only fails.
        verdict = (
            "It is not complete" if problem.kind == "placeholder" else f"{job.site.name} would refuse it"
        )
        print(f"{verdict}: {where}{problem.sentence}")
    if not job.problems:
        print(f"{job.site.name}'s site file has nothing against it.")
    print(job.answer or f"Slurm was not asked: {job.unasked}")


def submitted(job: Job, arguments: argparse.Namespace) -> bool:
    """Ask, submit, and say the job's number; whether it was submitted."""
    if not agreed("Submit this job?", arguments.yes):
        print("Not submitted.", file=sys.stderr)
        return False
    job.number = submit(job.script, job.site, job.name)
    if not arguments.json:
        print(f"Submitted as job {job.number}; `workshop request --watch {job.number}` says what it does.")
    return True


def agreed(question: str, yes: bool) -> bool:
    """Return whether the reader says y; whoever does not answer says no."""
    if yes:
        return True
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().casefold() in {"y", "yes"}


def watch_job(job: str, as_json: bool) -> int:
    """Print every change of a job until it is over; 0 where all of it completed."""
    ends = set()
    for state in watch(job_number(job)):
        if state.over:
            ends.add(state.state)
        print(json.dumps(vars(state)) if as_json else state, flush=True)
    return int(ends != {"COMPLETED"})


def cancel_job(arguments: argparse.Namespace) -> int:
    """Say which job it is, ask, and end it."""
    states = [state for state in job_states(arguments.cancel) if not state.over]
    if not states:
        raise WorkshopError(f"no job {arguments.cancel} waits or runs; `squeue --me` lists yours.")
    if not arguments.json:
        print(*states, sep="\n")
    if not agreed(f"End job {arguments.cancel}?", arguments.yes):
        print("Not ended.", file=sys.stderr)
        return 1
    cancel(arguments.cancel)
    print(
        json.dumps({"cancelled": arguments.cancel}) if arguments.json else f"Job {arguments.cancel} is ended."
    )
    return 0
