"""A request as the entries of the centre's Open OnDemand form, label by label."""

import math
from dataclasses import replace

from workshop_utils.cluster.request import ACCOUNT, Request
from workshop_utils.cluster.site import Site
from workshop_utils.errors import WorkshopError

YOUR_ACCOUNT = "(your allocation)"
# What the form calls the folder that is not the home folder.
WORK_DIRECTORY = "SCRATCH"


def form_entries(request: Request, site: Site) -> list[tuple[str, str]]:
    """Return labels and what to enter, in the form's order; all replicas of an array go into one session.

    Raises WorkshopError with the reason where the form cannot ask for this.
    """
    session = whole_session(request)
    require_form(session, site)
    form, group = site.form, session.group
    account = session.account or (YOUR_ACCOUNT if site.account_required else "")
    entries = [
        ("partition", group.partition.open_ondemand or ""),
        # The form takes whole hours.
        ("hours", str(math.ceil(session.hours))),
        ("cores", str(session.cores_per_node)),
        ("memory", str(session.memory_gib)),
        ("work_directory", WORK_DIRECTORY if site.scratch else "HOME"),
        ("account", account),
        ("gpu_type", group.open_ondemand or ""),
        ("gpus", str(session.gpus_per_node)),
    ]
    shown = [(form[field], value) for field, value in entries if field in form and value]
    if session.constraint:
        if "more" in form:
            label, _, value = form["more"].rpartition(": ")
            shown.append((label, value))
        shown.append((form["slurm_option"], f"--constraint={session.constraint}"))
    return shown


def whole_session(request: Request) -> Request:
    """Return the request of one session that has the GPUs of all replicas of an array on its node."""
    if not request.array:
        return request
    count, group = request.array, request.group
    cores, memory = request.cores_per_node * count, request.memory_gib * count
    if request.nodes == 1 and request.gpus_per_node * count <= group.per_node:
        return replace(
            request, array=None, gpus_per_node=request.gpus_per_node * count,
            cores_per_node=min(cores, group.cores or cores),
            memory_gib=min(memory, group.memory_bytes // 2**30 if group.memory_bytes else memory),
        )  # fmt: skip
    raise WorkshopError(
        f"the form starts one session, and this is an array of {count} jobs, more than a node has GPUs for; "
        "submit the script, or choose a plan of fewer replicas."
    )


def require_form(session: Request, site: Site) -> None:
    """Raise WorkshopError where the form has no words for the request."""
    form, group = site.form, session.group
    batch = "submit the script with sbatch instead"
    if not form:
        raise WorkshopError(f"{site.title} has no Open OnDemand form in its site file; {batch}.")
    if group.open_ondemand is None or group.partition.open_ondemand is None:
        raise WorkshopError(f"the form does not offer the {group.name}, which takes a batch job; {batch}.")
    if session.nodes > 1:
        raise WorkshopError(f"the form starts sessions on one node, and this takes {session.nodes}; {batch}.")
    most = form.get("most_gpus")
    if most and session.gpus_per_node > most:
        raise WorkshopError(
            f"the form gives up to {most} GPUs, and this takes {session.gpus_per_node}; {batch}, or choose a "
            f"plan with up to {most}."
        )
    if session.constraint and "slurm_option" not in form:
        raise WorkshopError(f"the form has no field for --constraint={session.constraint}; {batch}.")
    if session.account is not None and not ACCOUNT.fullmatch(session.account):
        raise WorkshopError(f"account {session.account!r} is no Slurm account.")
