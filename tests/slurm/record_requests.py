"""What sbatch answers to requests: ``answers/RELEASE-refusals.json`` and ``RELEASE-requests-SITE.json``.

Every request of the planner for a site is asked of ``sbatch --test-only``; so are scripts that Slurm refuses,
those of UVA's site file in a cluster of its shape. Run by ``record_releases.sh`` in such a cluster.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.plans import ACCOUNT, all_plans, site_of
from tests.cluster.planted import PLANTED, Planted
from tests.slurm.recording import recorded_case, write
from workshop_utils.cluster import sbatch_script, submit
from workshop_utils.cluster.request import request_of
from workshop_utils.cluster.sbatch_script import render

# Accepted answers that are kept word by word.
KEPT = 5
# Beside the errors that are planted for the site check: what only Slurm knows.
REFUSED: dict[str, dict[str, str | None]] = {
    "account_unknown": {"account": "nobody"},
    "qos_unknown": {"qos": "nope"},
    "reservation_unknown": {"reservation": "workshop"},
    "node_unknown": {"nodelist": "nosuchnode"},
    "dependency_unknown": {"dependency": "afterok:987654"},
    "array_too_large": {"array": "0-99999999"},
    "cores_of_no_node": {"cpus-per-task": "2000"},
    "tasks_of_no_node": {"nodes": "1", "ntasks": "2000"},
    "memory_of_no_node": {"mem": "900T"},
    "memory_of_a_core_of_no_node": {"mem": None, "mem-per-cpu": "900T"},
    "gpus_malformed": {"gres": None, "gpus": "a40:x"},
    "gpus_per_node_malformed": {"gres": None, "gpus-per-node": "a40:x"},
    "gpus_too_many": {"gres": None, "gpus": "a40:500"},
    "gres_unknown": {"gres": "tpu:1"},
    "option_unknown": {"foo": "3"},
    "both_memories": {"mem-per-cpu": "1G"},
    "time_zero": {"time": "0"},
}
# Scripts that sbatch takes for none.
GOOD = Planted("none", {}, (), None).script()
NO_SCRIPTS = {"dos_lines": GOOD.replace("\n", "\r\n"), "no_shebang": GOOD[2:], "empty": ""}


def name_of(planted: Planted) -> str:
    """Return the name of a planted error's case."""
    return "-".join((planted.kind, planted.site, *(f"{k}={v}" for k, v in planted.changed.items())))


def asked(script: str, site: str) -> dict[str, Any]:
    """Return the case of a script: asked about and, where Slurm refuses it, submitted all the same."""
    case = recorded_case(lambda: submit.test_only(script, site_of(site)))
    if any(call["returncode"] for call in case["calls"]):
        case["calls"] += recorded_case(lambda: submit.submit(script, site_of(site)))["calls"]
    return {"script": script, **case}


@contextmanager
def changed(do: str, undo: str) -> Iterator[None]:
    """Let the cluster be another one for a while: two commands of scontrol or sacctmgr."""
    subprocess.run(do.split(), check=True, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(undo.split(), check=True, stdout=subprocess.DEVNULL)


# What makes a good script one that is refused, and what makes it good again.
STATES = {
    "partition_down": (
        "scontrol update partitionname=gpu state=down", "scontrol update partitionname=gpu state=up",
    ),
    "partition_inactive": (
        "scontrol update partitionname=gpu state=inactive", "scontrol update partitionname=gpu state=up",
    ),
    "partition_of_others": (
        "scontrol update partitionname=gpu allowaccounts=others",
        "scontrol update partitionname=gpu allowaccounts=all",
    ),
    "jobs_too_many": (
        "sacctmgr -i modify account mygroup set maxsubmitjobs=0",
        "sacctmgr -i modify account mygroup set maxsubmitjobs=-1",
    ),
    "qos_time": ("sacctmgr -i modify qos gpu set maxwall=10", "sacctmgr -i modify qos gpu set maxwall=-1"),
    "qos_cores": (
        "sacctmgr -i modify qos gpu set maxtresperjob=cpu=0",
        "sacctmgr -i modify qos gpu set maxtresperjob=cpu=-1",
    ),
    "qos_memory": (
        "sacctmgr -i modify qos gpu set maxtresperjob=mem=10",
        "sacctmgr -i modify qos gpu set maxtresperjob=mem=-1",
    ),
}  # fmt: skip


def refusals() -> dict[str, Any]:
    """Return the cases of all that is refused in a cluster of UVA's shape."""
    cases = {name_of(each): asked(each.script(), "uva") for each in PLANTED if each.site == "uva"}
    cases |= {name: asked(Planted(name, new, (), None).script(), "uva") for name, new in REFUSED.items()}
    cases |= {name: asked(script, "uva") for name, script in NO_SCRIPTS.items()}
    subprocess.run(["sacctmgr", "-i", "add", "account", "others"], check=True, stdout=subprocess.DEVNULL)
    for name, (do, undo) in STATES.items():
        with changed(do, undo):
            cases[name] = asked(GOOD, "uva")
    nodes = subprocess.run(
        ["sinfo", "-h", "-N", "-p", "gpu", "-o", "%N %f"], capture_output=True, text=True, check=True
    ).stdout.splitlines()  # fmt: skip
    drained = ",".join(line.split()[0] for line in nodes if "a40" in line.split()[1].split(","))
    drain = f"scontrol update nodename={drained} state"
    with changed(f"{drain}=drain reason=fan", f"{drain}=resume"):
        cases["nodes_drained"] = asked(GOOD, "uva")
    return cases


def requests(site_name: str) -> dict[str, Any]:
    """Return what Slurm says of every request of the planner: how many it accepts, and every refusal."""
    site = site_of(site_name)
    # A script names this machine's virtual environment.
    sbatch_script.programs_folder = lambda: None
    accepted, refused = [], []
    for plan in all_plans(site_name):
        request = request_of(plan, site, ACCOUNT if site.account_required else None)
        case = asked(render(request, site), site_name)
        (refused if case["calls"][0]["returncode"] else accepted).append(case)
    print(site_name, len(accepted), "accepted", len(refused), "refused")
    cases = {"refused": refused, "accepted": accepted[:: max(1, len(accepted) // KEPT)][:KEPT]}
    return {"asked": len(accepted) + len(refused), "accepted": len(accepted), "cases": cases}


if __name__ == "__main__":
    (name,) = sys.argv[1:]
    if name == "uva":
        write("refusals", cases=refusals())
    write(f"requests-{name}", **requests(name))
