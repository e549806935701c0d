"""A request as an sbatch script that a learner can read.

What comes from outside is one of three things in it: a name of Slurm's in a safe alphabet, a word quoted for
bash, or a comment without control characters. None of them can become a line of its own or an option.
"""

import os
import sys
from collections.abc import Iterator

from workshop_utils.cluster.request import Request, safe_name
from workshop_utils.cluster.shell_words import (
    comment,
    folder_word,
    quoted,
    quoted_word,
    slurm_time,
    slurm_word,
    wrapped,
)
from workshop_utils.cluster.site import Site

YOUR_ALLOCATION = "YOUR_ALLOCATION"
CACHES = {
    "HF_HOME": "huggingface",
    "HF_XET_CACHE": "huggingface/xet",
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "TRITON_CACHE_DIR": "triton",
    "PIP_CACHE_DIR": "pip",
    "XDG_CACHE_HOME": "cache",
}

TORCHRUN = (
    'srun torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node="$SLURM_GPUS_ON_NODE" \\',
    '  --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$head:$port" \\',
)


def render(request: Request, site: Site) -> str:
    """Return the script. Raises WorkshopError where the site's names are none that Slurm could have."""
    parts = (header(request, site), notes(request), environment(request, site), work(request))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def header(request: Request, site: Site) -> Iterator[str]:
    """Yield what Slurm reads: the lines that begin with #SBATCH."""
    group = request.group
    count = "one node" if request.nodes == 1 else f"{request.nodes} nodes, each"
    yield "#!/bin/bash"
    yield f"# {count} with {request.gpus_per_node} × {comment(group.name)} of {comment(site.title)}"
    yield f"#SBATCH --job-name={safe_name(request.job_name)}"
    if request.account:
        yield f"#SBATCH --account={request.account}"
    elif site.account_required:
        yield f"# Who pays: put your allocation in place of {YOUR_ALLOCATION}, and take one # away."
        yield f"##SBATCH --account={YOUR_ALLOCATION}"
    yield f"#SBATCH --partition={slurm_word(group.partition.name)}"
    yield f"#SBATCH --nodes={request.nodes}"
    yield "# One task a node; the program in it starts a process for each GPU."
    yield "#SBATCH --ntasks-per-node=1"
    whole = " (whole nodes)" if request.nodes > 1 and request.gpus_per_node == group.per_node else ""
    yield f"# GPUs of each node{whole}: type and number. A GPU comes with all of its own memory."
    yield f"#SBATCH --gres=gpu:{slurm_word(group.type)}:{request.gpus_per_node}"
    if request.constraint:
        fast = group.fast_constraint is not None and request.constraint == group.fast_constraint
        why = "those with fast links between GPUs" if fast else f"those with the {comment(group.name)}"
        yield f"# Of the nodes with this type, only {why}."
        yield f"#SBATCH --constraint={slurm_word(request.constraint)}"
    yield "# Cores and CPU memory of each node; Slurm's G is GiB."
    yield f"#SBATCH --cpus-per-task={request.cores_per_node}"
    yield f"#SBATCH --mem={request.memory_gib}G"
    yield "# The job ends here, done or not; a shorter one starts earlier."
    yield f"#SBATCH --time={slurm_time(request.hours)}"
    if request.array:
        yield f"# {request.array} jobs of this kind, each with a number: one replica of the model each."
        yield f"#SBATCH --array=0-{request.array - 1}"
        yield "#SBATCH --output=%x-%A_%a.out"
    else:
        yield "# %x is the job's name, %j its number."
        yield "#SBATCH --output=%x-%j.out"


def notes(request: Request) -> Iterator[str]:
    """Yield the notes as comments."""
    for note in request.notes or ("A request of your own.",):
        yield from wrapped(comment(note))


def environment(request: Request, site: Site) -> Iterator[str]:
    """Yield what is set before the work starts."""
    if site.environment:
        yield "# The centre's software."
        yield from (line.replace("\r", "") for line in site.environment)
        yield ""
    yield "# From here on, the first command that fails ends the job."
    yield "set -euo pipefail"
    yield from python_environment(programs_folder())
    yield ""
    yield "# srun passes the environment and all cores on. Neither is sure by itself: Open OnDemand submits"
    yield "# with --export=NONE, and from Slurm 22.05 on srun does not ask for the cores of the job."
    yield "export SLURM_EXPORT_ENV=ALL"
    yield 'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"'
    if site.scratch:
        yield ""
        yield "# Model files and compiled kernels are large: off the home folder's quota, unless you chose."
        if "USER" in site.scratch:
            yield "# Who you are, where the environment does not say."
            yield ': "${USER:=$(id -un)}"'
        yield f"scratch={folder_word(site.scratch)}"
        for name, folder in CACHES.items():
            yield f'export {name}="${{{name}:-$scratch/{folder}}}"'


def programs_folder() -> str | None:
    """Return where the programs of this virtual environment are, None outside of one."""
    return None if sys.prefix == sys.base_prefix else os.path.join(sys.prefix, "bin")


def python_environment(folder: str | None) -> Iterator[str]:
    """Yield what makes ``workshop`` and ``python`` those that the script was made with."""
    if folder is None:
        yield "# Python's environment is the one that you submit from. To name another:"
        yield "# source /path/to/your/environment/bin/activate"
    else:
        yield "# The Python environment that this script was made in: workshop, python, torchrun."
        yield f'export PATH={quoted_word(folder)}:"$PATH"'


def work(request: Request) -> Iterator[str]:
    """Yield what runs."""
    if request.array:
        yield "# This job's share of your prompts, a line each, would be:"
        yield '# awk -v n="$SLURM_ARRAY_TASK_COUNT" -v i="$SLURM_ARRAY_TASK_ID" \'NR % n == i\' prompts.txt'
        yield 'echo "replica $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT"'
        yield ""
    if request.launcher == "vllm":
        yield from served(request)
    elif request.launcher == "torchrun":
        yield from rendezvous()
        yield "# srun starts torchrun on every node, and that a rank on every GPU."
        yield "# Your own script goes into the last line: --module and its name become your_script.py."
        yield from TORCHRUN
        yield f"  {quoted(request.command)}"
    else:
        yield "# The work; your own command goes here. srun makes it a step, which Slurm counts and ends."
        yield f"srun {quoted(request.command)}"


def rendezvous() -> Iterator[str]:
    """Yield where the processes of several nodes meet."""
    yield "# All nodes meet at the first one, at a port made of the job's number: two jobs do not collide."
    yield 'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    yield "port=$((20000 + SLURM_JOB_ID % 10000))"
    yield ""


def served(request: Request) -> Iterator[str]:
    """Yield vLLM's server on one node or several, and a client that ends it."""
    yield "# Whoever knows this key may use the server; other users of the node do not know it."
    yield "VLLM_API_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')"
    yield 'export VLLM_API_KEY OPENAI_API_KEY="$VLLM_API_KEY"'
    yield "http=$((10000 + SLURM_JOB_ID % 10000))"
    yield ""
    if request.nodes == 1:
        yield "# The server. & lets the script go on while it starts."
        yield f'srun {quoted(request.command)} --host 127.0.0.1 --port "$http" &'
    else:
        yield from rendezvous()
        yield "# vLLM's own launch over nodes (docs.vllm.ai, Parallelism and Scaling): one process a node;"
        yield "# the first one serves, the others only compute (--headless). Its other launcher, Ray, is left"
        yield "# to you."
        yield "# $1 to $3 are head and ports; every node puts its own number in."
        yield 'srun bash -c \'exec "${@:4}" --nnodes "$SLURM_JOB_NUM_NODES" --node-rank "$SLURM_NODEID" \\'
        yield '  --master-addr "$1" --master-port "$2" --host 127.0.0.1 --port "$3" \\'
        yield '  $([ "$SLURM_NODEID" = 0 ] || echo --headless)\' _ "$head" "$port" "$http" \\'
        yield f"  {quoted(request.command)} &"
    yield "server=$!"
    yield "# Until it answers; where it ended instead, so does the job."
    yield 'until curl --silent --fail --output /dev/null "http://127.0.0.1:$http/health"; do'
    yield '  kill -0 "$server" 2>/dev/null || { echo "the server ended, see above" >&2; exit 1; }'
    yield "  sleep 5"
    yield "done"
    yield ""
    yield "# The work; your own client goes here: http://127.0.0.1:$http/v1, with the key OPENAI_API_KEY."
    yield f'{quoted(request.client)} --base-url "http://127.0.0.1:$http"'
    yield ""
    yield "# A server would run until the time is over."
    yield 'kill "$server"'
    yield 'wait "$server" || true'
