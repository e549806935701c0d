"""Slurm's own messages, and what to change: the same words from Slurm 20.11 to 26.05 unless noted.

Where one message covers many causes, the site file says which values there are.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from workshop_utils.cluster.site import Site
from workshop_utils.cluster.site_advice import (
    features,
    gpu_limit,
    gres,
    no_node,
    nodes,
    partitions,
    time,
)
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


# No answer to what was asked: the controller is away.
AWAY = r"Unable to contact slurm controller|Socket timed out|Connection refused"
# A limit's name, such as AssocMaxSubmitJobLimit, begins so.
LIMIT = "(?:QOS|Assoc)(?:Max|Grp)"
# The first pattern that is in the text decides.
ADVICE: tuple[tuple[str, str | Callable[[Site | None], str]], ...] = (
    (
        rf"{LIMIT}\w*(?:Submit|Jobs)",
        "You, your account or QOS have as many jobs as they may, and each job of an array counts; wait until "
        "some have ended, or cancel some.",
    ),
    (
        rf"{LIMIT}\w*Minutes",
        "Your allocation has not enough left for this job; lower --time, or ask whoever manages it.",
    ),
    (rf"{LIMIT}\w*Wall", "The time is over what your account or QOS gives; lower --time."),
    (
        rf"{LIMIT}\w*Cpu",
        "More cores than your account or QOS may have; lower --cpus-per-task or --ntasks-per-node.",
    ),
    (rf"{LIMIT}\w*Mem", "More CPU memory than your account or QOS may have; lower --mem."),
    (LIMIT, gpu_limit),
    (r"Job violates accounting/QOS policy", gpu_limit),
    # Before what sbatch says besides.
    (
        r"Memory required by task is not available|Memory specification can not be satisfied",
        "More CPU memory than a node has; lower --mem. A GPU's own memory comes with it, unasked.",
    ),
    (r"Requested node configuration is not available", no_node),
    (
        r"Required node not available",
        "The nodes that it names are down, drained or reserved, as `workshop gpus --nodes` shows; leave "
        "--nodelist out.",
    ),
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
        r"Requested reservation is invalid|Access denied to requested reservation",
        "This reservation does not exist, is over, or is not for you; leave --reservation out, or take the "
        "name that `scontrol show reservation` shows.",
    ),
    (
        r"Invalid node name specified",
        "--nodelist or --exclude names a node that is not here; leave it out, or take one of `sinfo -N`.",
    ),
    (
        r"Required partition not available|Requested partition configuration not available now",
        "This partition takes no jobs now, as `scontrol show partition` shows; choose another one, or wait.",
    ),
    # From Slurm 24.11 on; before, such a job is taken.
    (
        r"Job dependency problem",
        "--dependency names a job that does not exist or has ended long ago; `squeue --me` lists yours.",
    ),
    (
        r"User's group not permitted to use this partition",
        "This partition is closed to you; choose another one, or ask the centre for it.",
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
        r"--mem, --mem-per-cpu,? and --mem-per-gpu are mutually exclusive",
        "Memory is asked for twice; keep one of --mem (of a node), --mem-per-cpu and --mem-per-gpu.",
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
