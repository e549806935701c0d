"""Slurm's own messages, and what to change: the same words from Slurm 20.11 to 26.05 unless noted.

Where one message covers many causes, the site file says which values there are.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from workshop_utils.cluster.site import Site
from workshop_utils.cluster.slurm import NO_CLUSTER, UNCONFIGURED


@dataclass(frozen=True)
class Advice:
    """What Slurm ``said``, as it is, and what to change; ``advice`` is empty for an unknown message."""

    said: str
    advice: str

    def __str__(self) -> str:
        return f"Slurm says: {self.said}. {self.advice}".rstrip()


def translate(text: str, site: Site | None = None) -> Advice:
    """Return what to change after a refusal of sbatch, srun or salloc; an unknown message as it came."""
    lines = [plain(line) for line in text.splitlines() if line.strip()] or ["nothing"]
    for pattern, advice in ADVICE:
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE):
                return Advice(line, advice if isinstance(advice, str) else advice(site))
    return Advice(lines[-1], "")


def plain(line: str) -> str:
    """Return a line of sbatch without the words that say nothing: its name, "allocation failure"."""
    line = re.sub(r"^\w+: (?:error: |fatal: )?", "", line.strip())
    line = re.sub(r"^(?:allocation failure|Batch job submission failed): ", "", line)
    # What goes on after two spaces goes on in the next line: "… batch script.  The first".
    return line.partition(".  ")[0].rstrip(".")


def no_node(site: Site | None) -> str:
    """Return what to compare where no node has all that is asked for at once."""
    causes = (
        "No node has all of this together: GPU type (in its exact spelling), GPUs on one node, constraint, "
        "cores and CPU memory."
    )
    if site is None:
        return f"{causes} `sinfo -o '%P %G %f %c %m'` lists what nodes have; change what is over it."
    types = ", ".join(f"{name} {most}" for name, most in most_of(site).items())
    return (
        f"{causes} {site.name} has on a node at most: {types}; change what is over it, or what "
        "`sinfo -o '%P %G %f %c %m'` shows on no node."
    )


def most_of(site: Site) -> dict[str, int]:
    """Return how many GPUs of each type a node has at most."""
    found: dict[str, int] = {}
    for group in site.gpus:
        found[group.type] = max(group.per_node, found.get(group.type, 0))
    return found


def partitions(site: Site | None) -> str:
    if site is None:
        return "`sinfo -o %P` lists the partitions; give one with --partition."
    return f"Give --partition one of {', '.join(each.name for each in site.partitions)}."


def features(site: Site | None) -> str:
    known = f" {site.name}'s file knows {', '.join(site.features)}." if site and site.features else ""
    return (
        f"No node has this constraint.{known} `sinfo -o '%f %N'` lists the features; change or leave it out."
    )


def nodes(site: Site | None) -> str:
    most = f": {site.name} gives a job {site.most_nodes}" if site and site.most_nodes else ""
    return f"More nodes than the partition gives one job{most}; ask for fewer nodes with more GPUs on each."


def gpu_limit(site: Site | None) -> str:
    most = f": {site.name} gives a job {site.most_gpus}" if site and site.most_gpus else ""
    return f"More GPUs or nodes than your account or QOS may have{most}; ask for fewer."


def time(site: Site | None) -> str:
    limits = ", ".join(f"{each.name} {each.most_hours:g} h" for each in site.partitions) if site else ""
    known = f" ({limits})" if limits else " (`sinfo -o '%P %l'` lists the limits)"
    return (
        f"The time is over the partition's limit{known}; lower --time, or choose a partition that gives more."
    )


def gres(site: Site | None) -> str:
    types = f"; types are {', '.join(site.types)}" if site else ""
    return f"GPUs are asked for as --gres=gpu:TYPE:NUMBER with a whole number{types}."


# No answer to what was asked: the controller is away.
AWAY = r"Unable to contact slurm controller|Socket timed out|Connection refused"
# The first pattern that is in the text decides.
ADVICE: tuple[tuple[str, str | Callable[[Site | None], str]], ...] = (
    (r"QOSMax\w*PerJob|QOSMax\w*PerUser|QOSGrp\w*|AssocMax\w*|AssocGrp\w*", gpu_limit),
    (r"Job violates accounting/QOS policy", gpu_limit),
    (r"Requested node configuration is not available", no_node),
    (r"Invalid feature specification", features),
    (r"Node count specification invalid", nodes),
    (r"Invalid partition name specified|invalid partition specified", partitions),
    (r"No partition specified or system default partition", partitions),
    (r"Requested time limit is invalid", time),
    # The second from Slurm 24.11 on.
    (r"Invalid generic resource \(gres\) specification|Invalid Trackable RESource \(TRES\)", gres),
    (r"Invalid --?(?:gres|gpus\S*) specification", gres),
    (
        r"Invalid account or account/partition combination",
        "This account does not exist, or you or the partition may not use it; `sacctmgr show associations "
        "user=$USER format=account,partition,qos` lists yours, for --account.",
    ),
    (
        r"Invalid qos specification",
        "Leave --qos out, or take one that `sacctmgr show associations user=$USER format=account,qos` lists.",
    ),
    (
        r"User's group not permitted to use this partition",
        "This partition is closed to you; choose another one, or ask the centre for it.",
    ),
    (
        r"Memory required by task is not available|Memory specification can not be satisfied",
        "More CPU memory than a node has; lower --mem. A GPU's own memory comes with it, unasked.",
    ),
    (
        r"CPU count per node can not be satisfied|More processors requested than permitted",
        "More cores than a node has; lower --cpus-per-task or --ntasks-per-node.",
    ),
    (
        r"Invalid job array specification",
        "Write an array as --array=0-7, within the centre's largest number.",
    ),
    (
        r"This does not look like a batch script",
        "The first line has to be #!/bin/bash, with nothing before it.",
    ),
    (r"Batch script is empty", "Nothing was given to run; name a file that has lines."),
    (
        r"DOS line breaks",
        "The file was saved with Windows' line ends; `sed -i 's/\\r$//' FILE` takes them away.",
    ),
    (
        r"unrecognized option|invalid option --|Invalid numeric value|not a valid node count"
        r"|Invalid --\S+ specification",
        "A word on an #SBATCH line is no option that this Slurm knows, or has a value that it does not read; "
        "`sbatch --help` lists them.",
    ),
    (UNCONFIGURED, f"{NO_CLUSTER}."),
    (
        AWAY,
        "Slurm's controller does not answer from here: try again in a minute, on a login node.",
    ),
    (
        r"mutually exclusive",
        "Variables of the job that you are in reach the new one; unset SLURM_* and SBATCH_*, but not "
        "SLURM_CONF.",
    ),
    (
        r"Unable to open file|No such file or directory",
        "A file or folder that the script names is not there; correct its name.",
    ),
)
