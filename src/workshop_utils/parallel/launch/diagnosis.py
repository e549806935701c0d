"""Why a run failed: the rank that began it, and what a reader can do."""

import json
import math
import signal
from collections.abc import Sequence
from typing import Any

from workshop_utils.parallel.launch.rank_state import RankState
from workshop_utils.parallel.launch.run_folder import RunFolder
from workshop_utils.units import format_gib

# torchrun looks ten times a second and notes whole seconds; those it killed itself come GRACE_SECONDS later.
SAME_MOMENT_SECONDS = 1
# What the other ranks raise when one has gone: words of gloo, of torch's store and of NCCL.
CONSEQUENCES = (
    "Connection closed by peer", "Connection reset by peer", "Broken pipe", "connectFullMesh",
    "remote process", "NCCL", "DistNetworkError", "DistStoreError", "failed to recv",
)  # fmt: skip
HINTS = {
    "SIGKILL": "SIGKILL usually means the memory limit of the job (--mem of Slurm) or of the machine: ask "
    "for more memory, or load less at a time",
    "SIGSEGV": "SIGSEGV is a crash inside a library: the end of the log may say which",
    "SIGABRT": "SIGABRT is a library giving up: the end of the log says why",
    "SIGBUS": "SIGBUS usually means that /dev/shm or a disk is full",
    "SIGTERM": "somebody asked it to end: Slurm does so at the time limit of a job",
}


def diagnose(ranks: Sequence[RankState], folder: RunFolder, agent_code: int) -> tuple[str, str]:
    """Return the outcome and the message of a run of which torchrun said ``agent_code``, not 0."""
    exit_codes, ended_others_at = _failures(folder)
    # A rank with an error noted counts although torchrun has ended it before it could end itself.
    suspects = {rank.number for rank in ranks if rank.error} | set(exit_codes)
    if not suspects:
        return "failed", _torchrun_failed(folder, agent_code)

    def order(rank: RankState) -> tuple[int, float]:
        return _order(rank, exit_codes.get(rank.number, 0), ended_others_at)

    first = min((ranks[number] for number in suspects), key=order)
    outcome, what, advice = _cause(first, ranks, exit_codes.get(first.number, 1))
    ended = " All other ranks were ended." if len(ranks) > 1 else ""
    return outcome, f"{what}.{ended} {advice} The full log is {folder.log(first.number)}."


def _failures(folder: RunFolder) -> tuple[dict[int, int], float]:
    """Return how those ranks ended that failed first, and when torchrun began to end the others.

    A negative code is a signal, as subprocess has it.
    """
    rows: list[dict[str, Any]] = []
    ended_others_at = math.inf
    for file in sorted(folder.path.glob("failures*.json")):  # one, or one of each node
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        rows += told["failures"]
        if told["ended_others_at"] is not None:
            ended_others_at = min(ended_others_at, told["ended_others_at"])
    if not rows:
        return {}, math.inf
    start = min(row["time"] for row in rows)
    codes = {row["rank"]: row["exit_code"] for row in rows if row["time"] <= start + SAME_MOMENT_SECONDS}
    return codes, ended_others_at


def _order(rank: RankState, code: int, ended_others_at: float) -> tuple[int, float]:
    """Causes before consequences: killed, an error of its own, an abort, an error that another rank has gone.

    Last comes what torchrun ended. Among errors the earlier one.
    """
    if code < 0 and code not in (-signal.SIGABRT, -signal.SIGTERM):
        return 0, 0.0
    if (error := rank.error) is not None:
        follows = any(words in error["message"] for words in CONSEQUENCES) or error["time"] > ended_others_at
        return (3 if follows else 1), error["time"]
    return (4 if code == -signal.SIGTERM else 2), 0.0


def _cause(rank: RankState, ranks: Sequence[RankState], code: int) -> tuple[str, str, str]:
    """Return the outcome, what happened and the advice."""
    error = rank.error
    if error is not None and error["out_of_memory"]:
        what = f"Rank {rank.number} ran out of memory: {error['message'].rstrip('.')}"
        sizes = _memory_text(ranks)
        advice = "Take a shorter context, a smaller batch or more GPUs; `workshop estimate` says what fits."
        return "out_of_memory", what, f"{sizes}{advice}"
    if error is not None and error.get("for_reader"):
        return "failed", f"Rank {rank.number}: {error['for_reader'].rstrip('.')}", "Nothing was left running."
    if error is not None:
        line = f" (line {error['line']} of the script)" if error["line"] else ""
        return (
            "failed",
            f"Rank {rank.number} raised {error['message'].rstrip('.')}{line}",
            "Correct it there and run it again.",
        )
    if code < 0:
        name = _signal_name(-code)
        hint = HINTS.get(name)
        advice = f"{hint}." if hint else "The end of its log may say why."
        return "killed", f"Rank {rank.number} was ended by {name}", advice
    said = f"its last line: {rank.last_line}" if rank.last_line else "it printed nothing"
    return (
        "failed",
        f"Rank {rank.number} ended with code {code} and no error of Python; {said}",
        "Look for what ended it.",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _memory_text(ranks: Sequence[RankState]) -> str:
    """Return predicted and actual memory of each GPU as far as noted, in GiB as a driver reports."""
    words = {"predicted_bytes": "predicted {}", "used_bytes": "used {}", "total_bytes": "of {} there"}
    parts = []
    for rank in ranks:
        known = [
            text.format(format_gib(rank.memory[name])) for name, text in words.items() if name in rank.memory
        ]
        if known:
            parts.append(f"rank {rank.number} {', '.join(known)}")
    return f"Per GPU: {'; '.join(parts)}. " if parts else ""


def _torchrun_failed(folder: RunFolder, code: int) -> str:
    if code < 0:
        return (
            f"torchrun, which holds the ranks, was ended by {_signal_name(-code)}, and all ranks with it. "
            f"{HINTS.get(_signal_name(-code), 'Run it again')}. Its log is {folder.agent_log}."
        )
    try:
        said = folder.agent_log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    except OSError:
        said = ""
    return (
        f"torchrun could not run the ranks: {said or 'it said nothing'}. "
        f"`workshop doctor` checks PyTorch; the log is {folder.agent_log}."
    )
