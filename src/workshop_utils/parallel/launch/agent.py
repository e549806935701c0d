"""torchrun, in a process of its own: ``python -m … RANKS FOLDER SCRIPT [arguments]``.

It is ``torch.distributed.run`` with four things that its options do not give. It ends with the launcher. The
store where the ranks meet listens on the loopback interface only, where torchrun's listens on all. When a
rank has failed, the others have 3 s, not 30, before they are killed. A file says how each rank ended.
"""

import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workshop_utils.parallel.launch.parent_death import end_with
from workshop_utils.parallel.launch.processes import GRACE_SECONDS
from workshop_utils.parallel.launch.run_folder import RUN_AGENT, RUN_LAUNCHER, RunFolder

RANK_MODULE = "workshop_utils.parallel.launch.rank"
LOOPBACK = "127.0.0.1"


def main(ranks: int, folder: RunFolder, script_and_arguments: Sequence[str]) -> int:
    """Run all ranks to their end; 1 when one failed."""
    # SIGTERM, so that torchrun ends the ranks with all that they have started.
    end_with(int(os.environ[RUN_LAUNCHER]), signal.SIGTERM)
    os.environ[RUN_AGENT] = str(os.getpid())
    from torch.distributed import TCPStore
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    listening = socket.create_server((LOOPBACK, 0))
    port = listening.getsockname()[1]
    # torchrun asks for a store at this port, and as one process has one server a port, it gets this one.
    store = TCPStore(
        LOOPBACK, port, is_master=True, wait_for_workers=False, multi_tenant=True,
        master_listen_fd=listening.detach(),
    )  # fmt: skip
    closing = shorten_grace()
    try:
        torchrun(torchrun_arguments(ranks, port, folder, script_and_arguments))
    except ChildFailedError as error:
        rows = [
            {"rank": rank, "exit_code": failure.exitcode, "time": failure.timestamp}
            for rank, failure in error.failures.items()
        ]
        folder.failures.write_text(
            json.dumps({"ended_others_at": closing[0], "failures": rows}), encoding="utf-8"
        )
        return 1
    finally:
        del store
    return 0


def torchrun_arguments(
    ranks: int, port: int, folder: RunFolder, script_and_arguments: Sequence[str]
) -> list[str]:
    """Return the options of torchrun for one node, and the command of a rank."""
    # torchrun puts ${local_rank} in place and takes $$ for $: what the reader wrote must arrive as it is.
    exact = [word.replace("$", "$$") for word in script_and_arguments]
    return [
        "--nnodes=1", f"--nproc-per-node={ranks}", "--node-rank=0", "--max-restarts=0",
        "--rdzv-backend=static", f"--rdzv-id={uuid.uuid4().hex}", f"--master-addr={LOOPBACK}",
        f"--master-port={port}", f"--local-addr={LOOPBACK}", f"--log-dir={folder.path / 'torchrun'}",
        # -P: the folder that the reader works in may hold a json.py.
        "--no-python", sys.executable, "-P", "-u", "-m", RANK_MODULE, *exact,
    ]  # fmt: skip


def shorten_grace() -> list[float]:
    """Have torchrun wait at most ``GRACE_SECONDS`` between SIGTERM and SIGKILL.

    --shutdown-timeout does so when torchrun itself is signalled; when a rank has failed, the 30 s are fixed.
    Return the list of times, since the epoch, at which it began to end the ranks.
    """
    from torch.distributed.elastic.multiprocessing.api import PContext

    close, times = PContext.close, []

    def close_soon(self: Any, death_sig: signal.Signals | None = None, timeout: int = GRACE_SECONDS) -> None:
        times.append(time.time())
        close(self, death_sig, min(timeout, GRACE_SECONDS))

    PContext.close = close_soon
    return times


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), RunFolder(Path(sys.argv[2])), sys.argv[3:]))
