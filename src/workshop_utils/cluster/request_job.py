"""A script on its way to Slurm: of a plan, or of the reader's own."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop_utils.cluster.ood_form import form_entries
from workshop_utils.cluster.plan_options import planning_of
from workshop_utils.cluster.request import Request, request_of, safe_name
from workshop_utils.cluster.sbatch_script import render
from workshop_utils.cluster.script_options import read_options
from workshop_utils.cluster.site import Site, find_site
from workshop_utils.cluster.site_case import Problem
from workshop_utils.cluster.submit import MOST_SCRIPT_BYTES, Answer
from workshop_utils.errors import WorkshopError
from workshop_utils.models.catalogue import load_catalogue
from workshop_utils.models.find import cached_config_file, config_file
from workshop_utils.planner.plan import Plan, Planning


@dataclass
class Job:
    """A script on its way: where to, from which plan, and what site and Slurm say of it.

    ``unasked``: why Slurm has not said anything.
    """

    site: Site
    script: str
    name: str | None = None
    plan: Plan | None = None
    request: Request | None = None
    problems: Sequence[Problem] = ()
    answer: Answer | None = None
    unasked: str | None = None
    number: str | None = None

    def form(self) -> tuple[list[tuple[str, str]] | None, str | None]:
        """Return the form's entries, or why there are none."""
        if self.request is None:
            return None, None
        try:
            return form_entries(self.request, self.site), None
        except WorkshopError as refusal:
            return None, str(refusal)

    def as_json(self) -> dict[str, Any]:
        entries, refusal = self.form()
        return {
            "site": self.site.name,
            "plan": self.plan.as_json() if self.plan else None,
            "request": self.request.as_json() if self.request else None,
            "script": self.script,
            "form": dict(entries) if entries else None,
            "form_refusal": refusal,
            "problems": [problem.as_json() for problem in self.problems],
            "slurm": self.answer.as_json() if self.answer else None,
            "slurm_unasked": self.unasked,
            "job": self.number,
        }


def planned_script(arguments: argparse.Namespace) -> Job:
    """Return the script of a plan."""
    site, planning = planning_of(arguments)
    plan = chosen_plan(planning, arguments.plan)
    model = name_for_a_job(arguments.model)
    request = request_of(plan, site, arguments.account, arguments.hours, model)
    return Job(site, render(request, site), plan=plan, request=request)


def name_for_a_job(model: str) -> str:
    """Return what a job calls a model, which starts in another folder and with another Hugging Face cache."""
    if any(model.casefold() in map(str.casefold, entry.ids) for entry in load_catalogue()):
        return model
    file = config_file(model) or cached_config_file(model)
    if file is None:
        return model
    return str((file.parent if file.name == "config.json" else file).absolute())


def chosen_plan(planning: Planning, number: int) -> Plan:
    """Return a plan by its number from 1; WorkshopError with how many there are."""
    plans = planning.plans
    if not plans:
        first = planning.refused[0]
        raise WorkshopError(
            f"nothing works: {first.offer.name}, {first.layout.words()}: {first.reason}; instead "
            f"{first.nearest}; `workshop plan` says it of every GPU."
        )
    if not 1 <= number <= len(plans):
        raise WorkshopError(f"there is no plan {number}; choose 1 to {len(plans)} of `workshop plan`.")
    return plans[number - 1]


def checked_script(arguments: argparse.Namespace) -> Job:
    """Return a script of the reader's own."""
    path: Path = arguments.check
    if not path.is_file():
        raise WorkshopError(f"{path} is no file; name the script that you would give to sbatch.")
    if path.stat().st_size > MOST_SCRIPT_BYTES:
        raise WorkshopError(f"{path} has {path.stat().st_size:,} bytes: Slurm takes no script that long.")
    # With the line ends that it has: Slurm looks at them.
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        script = file.read()
    # From standard input, Slurm does not know the file that it names a job after.
    name = None if read_options(script).value("job-name") else safe_name(path.name)
    return Job(find_site(arguments.site), script, name)
