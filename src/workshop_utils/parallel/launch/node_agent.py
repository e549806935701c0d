"""torchrun on one of several nodes: ``python -m … NODES RANKS FOLDER HEAD PORT SCRIPT [arguments]``, by srun.

As ``agent.py``, with the differences that several nodes make: the ranks meet at a port of the first node, on
which torchrun listens on all interfaces; this process ends with Slurm's step; each node writes its failures.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from workshop_utils.parallel.launch.agent import RANK_MODULE, shorten_grace
from workshop_utils.parallel.launch.run_folder import RUN_AGENT, RUN_ID, RunFolder


def main(nodes: int, ranks: int, folder: RunFolder, meeting: str, script: Sequence[str]) -> int:
    """Run this node's ranks to their end; 1 when one failed."""
    os.environ[RUN_AGENT] = str(os.getpid())
    node = os.environ["SLURM_NODEID"]
    if node == "0":
        # The launcher ends the step by this number, also where srun itself was killed.
        number = f"{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
        folder.step.write_text(number, encoding="utf-8")
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    closing = shorten_grace()
    try:
        torchrun(torchrun_arguments(nodes, ranks, folder, meeting, script))
    except ChildFailedError as error:
        rows = [
            {"rank": rank, "exit_code": failure.exitcode, "time": failure.timestamp}
            for rank, failure in error.failures.items()
        ]
        text = json.dumps({"ended_others_at": closing[0] if closing else None, "failures": rows})
        folder.failures_of(node).write_text(text, encoding="utf-8")
        return 1
    return 0


def torchrun_arguments(
    nodes: int, ranks: int, folder: RunFolder, meeting: str, script: Sequence[str]
) -> list[str]:
    """Return the options of torchrun for this node, and the command of a rank."""
    # torchrun puts ${local_rank} in place and takes $$ for $: what the reader wrote must arrive as it is.
    exact = [word.replace("$", "$$") for word in script]
    return [
        f"--nnodes={nodes}", f"--nproc-per-node={ranks}", "--max-restarts=0", "--rdzv-backend=c10d",
        f"--rdzv-id={os.environ[RUN_ID]}", f"--rdzv-endpoint={meeting}",
        f"--log-dir={folder.path / 'torchrun'}",
        # -P: the folder that the reader works in may hold a json.py.
        "--no-python", sys.executable, "-P", "-u", "-m", RANK_MODULE, *exact,
    ]  # fmt: skip


if __name__ == "__main__":
    _, nodes_count, ranks_each, run_folder, meeting_place, *command = sys.argv
    sys.exit(main(int(nodes_count), int(ranks_each), RunFolder(Path(run_folder)), meeting_place, command))
