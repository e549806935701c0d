"""``launch()``: run a script on several ranks of this node, show what they say, end them whatever happens.

The ranks never run in the process that launches: torchrun is started anew (no fork), in a session of its own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from workshop_utils.parallel.launch.diagnosis import diagnose
from workshop_utils.parallel.launch.environment import run_environment
from workshop_utils.parallel.launch.gpu_held import gpu_memory_held_here
from workshop_utils.parallel.launch.hang import describe_hang
from workshop_utils.parallel.launch.nodes import end_step, nodes_environment, step_command
from workshop_utils.parallel.launch.processes import end_processes, processes_of
from workshop_utils.parallel.launch.rank_state import RankState
from workshop_utils.parallel.launch.request import RunRequest, check_request
from workshop_utils.parallel.launch.result import RunResult
from workshop_utils.parallel.launch.run_folder import RUN_ID, RunFolder
from workshop_utils.parallel.launch.screen import Screen

AGENT_MODULE = "workshop_utils.parallel.launch.agent"
# Before NCCL's own ten minutes (torch's default_pg_nccl_timeout), whose abort does not say who is missing.
TIMEOUT_SECONDS = 540.0
# Importing torch from a cluster's file system takes up to minutes, and no rank can speak before.
START_SECONDS = 300.0
LOOK_SECONDS = 0.1


def launch(  # noqa: PLR0913 - what to run, and how
    script: Path | str,
    arguments: Sequence[str] = (),
    ranks: int = 1,
    *,
    nodes: int = 1,
    device: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    environment: Mapping[str, str] = MappingProxyType({}),
    stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Run ``script`` with ``arguments`` on ``ranks`` ranks of this node and wait for the end.

    Each line that a rank prints appears on standard output with its rank in front. Rank i finds LOCAL_RANK=i
    and uses GPU i, or gloo on the CPU: ``device`` is cuda, cpu or None, for GPUs where there are some.
    With several ``nodes`` of this Slurm job, ``ranks`` are those of each, and logs and notes go through the
    folder that this is called in, which all nodes must see. A run in which no rank says anything for
    ``timeout_seconds`` is ended, as is one when ``stop`` says so, which is asked ten times a second.
    ``environment`` is added to the ranks' own. A run that fails is a result, too. Raises WorkshopError for
    what cannot be run; KeyboardInterrupt goes on, once all ranks have ended.
    """
    request = check_request(script, arguments, ranks, device, timeout_seconds, nodes)
    screen = Screen(sys.stdout)
    if request.device == "cuda" and (held := gpu_memory_held_here()):
        screen.line(f"Note: {held}")
    # Other nodes do not see this one's temporary folder.
    where = {"prefix": ".workshop-run-", "dir": Path.cwd()} if request.nodes else {"prefix": "workshop-run-"}
    folder = RunFolder(Path(tempfile.mkdtemp(**where)))
    kept = False
    try:
        result = _Run(request, folder, screen, environment, stop).result()
        kept = not result.finished
    finally:
        screen.close()
        if not kept:
            shutil.rmtree(folder.path, ignore_errors=True)
    return result


class _Run:
    """One run: its agent (torchrun), its ranks, and what is known of them."""

    def __init__(
        self,
        request: RunRequest,
        folder: RunFolder,
        screen: Screen,
        environment: Mapping[str, str],
        stop: Callable[[], bool],
    ) -> None:
        self._request, self._folder, self._screen, self._stop = request, folder, screen, stop
        self._ranks = [RankState(number, folder) for number in range(request.all_ranks)]
        self._environment = {**run_environment(folder, request.ranks, request.device), **environment}
        self._started = time.monotonic()

    def result(self) -> RunResult:
        """Run to the end; however that comes, no process of the run is left."""
        agent = None
        try:
            agent = self._start()
            hung = self._watch(agent)
        finally:
            if self._request.nodes:
                end_step(self._folder)
            remaining = end_processes(self._environment[RUN_ID])
            if agent is not None:
                code = agent.wait()
        self._show(everything=True)
        outcome, message = self._outcome(code, hung)
        if remaining:
            message += f" The system could not end the processes {', '.join(map(str, remaining))}."
        seconds = time.monotonic() - self._started
        notes = tuple(tuple(rank.notes) for rank in self._ranks)
        logs = None if outcome == "finished" else self._folder.path
        return RunResult(outcome, message, seconds, notes, logs)

    def _start(self) -> subprocess.Popen[bytes]:
        request = self._request
        script = [str(request.script), *request.arguments]
        environment: Mapping[str, str] = self._environment
        if request.nodes:
            cores = os.environ.get("SLURM_CPUS_PER_TASK", "")
            each = int(cores) if cores.isdigit() else None
            command = step_command(request.nodes, request.ranks, self._folder, script, each)
            environment = nodes_environment(environment)
        else:
            # -P: the folder that the reader works in may hold a json.py.
            agent = [sys.executable, "-P", "-m", AGENT_MODULE]
            command = [*agent, str(request.ranks), str(self._folder.path), *script]
        with self._folder.agent_log.open("wb") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=environment,
            )  # fmt: skip

    def _watch(self, agent: "subprocess.Popen[bytes]") -> str | None:
        """Show what the ranks say until torchrun has ended; return a description if they hang."""
        while agent.poll() is None:
            self._show()
            if self._stop():
                return "The run was stopped."
            if limit := self._silent_for():
                living = {process.pid for process in processes_of(self._environment[RUN_ID])}
                if self._request.nodes:  # processes of other nodes are not seen from here
                    living |= {rank.pid for rank in self._ranks if rank.pid is not None}
                return describe_hang(self._ranks, limit, living, self._folder, self._request.script)
            time.sleep(LOOK_SECONDS)
        return None

    def _show(self, everything: bool = False) -> None:
        for rank in self._ranks:
            lines, progress = rank.read(everything)
            for line in lines:
                self._screen.line(f"[rank {rank.number}] {line}")
            if rank.number == 0 and progress is not None:
                self._screen.progress(progress)

    def _silent_for(self) -> float | None:
        """Return for how long no rank has given a sign, if that is too long; a start may take longer."""
        limit = self._request.timeout_seconds
        if any(rank.pid is None for rank in self._ranks):
            limit = max(limit, START_SECONDS)
        silent = time.monotonic() - max(rank.sign_at for rank in self._ranks) > limit
        return limit if silent else None

    def _outcome(self, code: int, hung: str | None) -> tuple[str, str]:
        count = f"{len(self._ranks)} rank{'s' if len(self._ranks) > 1 else ''}"
        if hung is not None:
            return "timed_out", f"{hung} All ranks were ended. The full logs are in {self._folder.path}."
        if code == 0:
            return "finished", f"{count} finished in {time.monotonic() - self._started:.1f} s."
        return diagnose(self._ranks, self._folder, code)
